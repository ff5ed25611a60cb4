-- Reads the events 1 to 1,000 in turn.
local sent = 0

function request()
  sent = sent + 1
  return wrk.format("GET", wrk.path .. (sent % 1000 + 1))
end

-- One line of figures: requests a second, percentiles in milliseconds, answers that were no success.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("figures %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status + errors.connect + errors.read + errors.timeout))
end
