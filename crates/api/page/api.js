/*
 * The public API, as this page calls it: read(), write(), and a session that renews itself.
 *
 * Where the tokens are. The access token opens everything, so it is in a variable: no other page,
 * no later visitor and no copy of the disk finds it. The refresh token has to survive a reload, so
 * it is in sessionStorage: that ends with the tab. localStorage would be worse twice over: it stays
 * when the tab is closed, and it is shared by all tabs, which would spend the same single-use token
 * at once; the server takes that for theft and ends the session.
 *
 * What is sent twice. Each write has an Idempotency-Key. If its answer is lost, or says that the
 * outcome is unknown, the same request is sent again with the same key: the server does it once and
 * gives the answer that was lost. So it is always safe to press the button again.
 */

const REFRESH_TOKEN = "boxoffice.refresh_token";
const TRIES = 4;

/** Who is signed in; null for nobody. `changed` is called whenever that is somebody else. */
export const session = { user: null, changed: () => {} };

let accessToken = null;
let renewal = null;
let unsettled = null;

/** An error as the API tells it (RFC 9457), or what stands for it when there was no answer. */
export class Problem extends Error {
  constructor({ status = 0, code = "", detail, errors = [] }, retryAfter = 0) {
    super(detail);
    Object.assign(this, { status, code, errors, retryAfter });
  }

  /** Whether the same request may succeed if it is simply sent again. */
  get passing() {
    return this.status === 0 || this.status === 503 || this.code === "idempotency_in_progress";
  }
}

/** Reads an address: `{ body, headers }`. */
export const read = (path) => persist(() => call("GET", path));

/** Changes something, once, however often it has to be sent. */
export async function write(method, path, body, headers = {}) {
  const request = [method, path, JSON.stringify(body)].join(" ");
  const key = unsettled?.request === request ? unsettled.key : newKey();
  unsettled = { request, key };
  try {
    const answer = await persist(() => call(method, path, body, { ...headers, "Idempotency-Key": key }));
    unsettled = null;
    return answer;
  } catch (problem) {
    if (!problem.passing) unsettled = null;
    throw problem;
  }
}

/** Tries again what may only have to be tried again. */
async function persist(attempt) {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (problem) {
      if (!problem.passing || tries === TRIES) throw problem;
      await pause(problem.retryAfter || tries);
    }
  }
}

/** Signs up or logs in. */
export async function signIn(path, body) {
  await begin((await result(await send("POST", path, body))).body);
}

/** Goes on with the session of this tab, if there is one. */
export async function resume() {
  if (sessionStorage.getItem(REFRESH_TOKEN)) await renew();
}

/** Forgets the session here, and asks the server to end it. */
export async function logOut() {
  const refresh_token = sessionStorage.getItem(REFRESH_TOKEN);
  end();
  await send("POST", "/api/auth/logout", { refresh_token });
}

async function call(method, path, body, headers) {
  const token = accessToken;
  const answer = await send(method, path, body, headers);
  if (answer.status !== 401 || !token) return result(answer);
  // The access token has run out. Another call may have noticed first.
  if (token === accessToken) await renew();
  return result(await send(method, path, body, headers));
}

async function send(method, path, body, headers = {}) {
  const all = { Accept: "application/json", ...headers };
  if (accessToken && !path.startsWith("/api/auth/")) all.Authorization = `Bearer ${accessToken}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  try {
    return await fetch(path, { method, headers: all, body: JSON.stringify(body) });
  } catch {
    throw new Problem({ detail: "The server cannot be reached. Please try again." });
  }
}

async function result(answer) {
  const body = await answer.json().catch(() => null);
  if (answer.ok) return { body, headers: answer.headers };
  const unreadable = { status: answer.status, detail: `The server answered with status ${answer.status}.` };
  throw new Problem(body ?? unreadable, Number(answer.headers.get("Retry-After")));
}

/** A new pair of tokens. All who need one at a time share one exchange, as the old token works once. */
function renew() {
  renewal ??= exchange().finally(() => { renewal = null; });
  return renewal;
}

async function exchange() {
  const answer = await send("POST", "/api/auth/refresh", { refresh_token: sessionStorage.getItem(REFRESH_TOKEN) });
  if (answer.status === 401) end();
  else begin((await result(answer)).body);
}

function begin({ user, token, refresh_token }) {
  accessToken = token;
  sessionStorage.setItem(REFRESH_TOKEN, refresh_token);
  const same = session.user?.id === user.id && session.user.role === user.role;
  session.user = user;
  return same ? undefined : session.changed();
}

function end() {
  accessToken = null;
  sessionStorage.removeItem(REFRESH_TOKEN);
  session.user = null;
  session.changed();
}

/** randomUUID is there on HTTPS and localhost only; getRandomValues is there everywhere. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
