-- Books seats: each request with the next token, for the next of EVENTS events from FIRST on.
-- Each thread has every THREADS-th line of TOKENS, from SKIP on, so that no token comes twice. All
-- requests are written before the first is sent: writing them costs as much as sending them.
local counter = 0

function setup(thread)
  thread:set("number", counter)
  counter = counter + 1
end

function init()
  threads = tonumber(os.getenv("THREADS"))
  first = tonumber(os.getenv("FIRST"))
  events = tonumber(os.getenv("EVENTS"))
  local skip = tonumber(os.getenv("SKIP"))
  local most = tonumber(os.getenv("MOST"))
  requests = {}
  local line = 0
  for token in io.lines(os.getenv("TOKENS")) do
    line = line + 1
    if line > skip and line % threads == number then
      local event = first + (#requests * threads + number) % events
      requests[#requests + 1] =
        wrk.format("POST", "/api/events/" .. event .. "/register", { Authorization = "Bearer " .. token })
    end
    if line >= skip + most then break end
  end
  sent = 0
end

function request()
  sent = sent + 1
  return requests[sent] or requests[1]
end

-- One line of figures: requests a second, percentiles in milliseconds, answers that were no success.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("figures %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status + errors.connect + errors.read + errors.timeout))
end
