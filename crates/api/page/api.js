/*
 * The public API, as this page calls it: read(), readOwn(), write(), and a session that all tabs share.
 *
 * The refresh token works once; used twice, it ends the session. It is in IndexedDB, and only touched
 * under a Web Lock. (localStorage will not do: a tab of another process may read the old value when it
 * has got the lock.) The user is in localStorage, which tells other tabs. Without HTTPS there are no
 * locks, and a session is one tab's. The access token is in sessionStorage: a reload needs no exchange,
 * which another reload would cut short. Only "Log out" and a refused refresh token end a session.
 *
 * A write has an Idempotency-Key: if its answer is lost, the same request with the same key is sent
 * again, and the server does it once.
 */

const USER = "boxoffice.user";
const ACCESS_TOKEN = "boxoffice.access_token";
const REFRESH_TOKEN = "boxoffice.refresh_token";
const TRIES = 4;
const LONGEST_PAUSE_SECS = 5;
const LONGEST_ANSWER_MS = 15_000;

const { locks } = navigator;
const store = locks ? localStorage : sessionStorage;

/** Who is signed in; null for nobody. `changed` is called whenever that is another user. */
export const session = { user: null, changed: () => {} };

/** `back` is called when the server answers again after requests that failed. */
export const connection = { back: () => {} };

let accessToken = null;
let renewal = null;
let unsettled = null;
let lost = false;

/** An error as the API tells it (RFC 9457), or what stands for it when there was no answer. */
export class Problem extends Error {
	constructor({ status = 0, code = "", detail, errors = [] }, retryAfter = 0) {
		super(detail);
		Object.assign(this, { status, code, errors, retryAfter });
	}

	/** Whether the same request may succeed later. */
	get passing() {
		const { status, code } = this;
		return status === 0 || status >= 500 || code === "idempotency_in_progress" || (status === 429 && code !== "too_many_attempts");
	}
}

/** Reads what is public: `{ body, headers }`. */
export const read = async (path) => result(await send("GET", path));

export const readOwn = (path) => call("GET", path);

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

export async function persist(attempt) {
	for (let tries = 1; ; tries++) {
		try {
			return await attempt();
		} catch (problem) {
			if (!problem.passing || tries === TRIES || problem.retryAfter > LONGEST_PAUSE_SECS) throw problem;
			await pause(problem.retryAfter || tries);
		}
	}
}

export async function signIn(path, body) {
	const answer = await result(await send("POST", path, body));
	await alone(() => refreshToken.set(answer.body.refresh_token));
	await notice(answer.body.user, answer.body.token);
}

/** Goes on with the browser's session, and learns who its user is by now. */
export async function resume() {
	if (!accessToken) return renew();
	const { body } = await readOwn("/api/users/me");
	if (body.id === session.user?.id) notice(body);
}

/** Forgets the session in every tab, and asks the server to end it. */
export async function logOut() {
	const refresh_token = await alone(async () => {
		const token = await refreshToken.get();
		await forget();
		return token;
	});
	await result(await send("POST", "/api/auth/logout", { refresh_token }));
}

async function call(method, path, body, headers) {
	if (!accessToken && session.user) await renew();
	const token = accessToken;
	const answer = await send(method, path, body, headers, token);
	if (answer.status !== 401 || !token) return result(answer);
	// It has run out. Another call may have noticed first.
	if (token === accessToken) await renew();
	return result(await send(method, path, body, headers, accessToken));
}

async function send(method, path, body, headers, token) {
	const all = { Accept: "application/json", ...headers };
	if (token) all.Authorization = `Bearer ${token}`;
	if (body !== undefined) all["Content-Type"] = "application/json";
	try {
		const signal = AbortSignal.timeout(LONGEST_ANSWER_MS);
		return await fetch(path, { method, headers: all, body: JSON.stringify(body), signal });
	} catch {
		throw unreachable();
	}
}

async function result(answer) {
	const body = answer.status === 204 ? null : await answer.json().catch(() => undefined);
	if (!answer.ok) {
		const unreadable = { status: answer.status, detail: `The server answered with status ${answer.status}.` };
		const problem = new Problem(body ?? unreadable, Number(answer.headers.get("Retry-After")));
		lost ||= problem.passing;
		throw problem;
	}
	if (body === undefined) throw unreachable();
	if (lost) {
		lost = false;
		connection.back();
	}
	return { body, headers: answer.headers };
}

function unreachable() {
	lost = true;
	return new Problem({ detail: navigator.onLine ? "The server cannot be reached." : "You are offline." });
}

/** New tokens. All calls that need them share one exchange, and tabs take turns. */
function renew() {
	renewal ??= alone(exchange).finally(() => { renewal = null; });
	return renewal;
}

async function exchange() {
	const refresh_token = await refreshToken.get();
	if (!refresh_token) return void forget();
	try {
		const { body } = await result(await send("POST", "/api/auth/refresh", { refresh_token }));
		await refreshToken.set(body.refresh_token);
		// Not awaited: what follows a sign-in may need a token, and would wait for this exchange.
		notice(body.user, body.token);
	} catch (problem) {
		if (!["invalid_refresh_token", "refresh_token_reused"].includes(problem.code)) throw problem;
		forget();
	}
}

async function forget() {
	await refreshToken.set(undefined);
	notice(null);
}

const alone = async (work) => (locks ? locks.request(REFRESH_TOKEN, work) : work());

const refreshToken = {
	get: () => (locks ? inDatabase("get", REFRESH_TOKEN) : sessionStorage.getItem(REFRESH_TOKEN)),
	set: (token = "") => (locks ? inDatabase("put", token, REFRESH_TOKEN) : keep(sessionStorage, REFRESH_TOKEN, token)),
};

function keep(store, name, value) {
	if (!value) store.removeItem(name);
	// The same again is no news to other tabs.
	else if (store.getItem(name) !== value) store.setItem(name, value);
}

let database;
async function inDatabase(verb, ...values) {
	database ??= new Promise((done, failed) => {
		const request = indexedDB.open("boxoffice");
		request.onupgradeneeded = () => request.result.createObjectStore("session");
		request.onsuccess = () => done(request.result);
		request.onerror = () => failed(request.error);
	});
	const transaction = (await database).transaction("session", "readwrite");
	const request = transaction.objectStore("session")[verb](...values);
	return new Promise((done, failed) => {
		transaction.oncomplete = () => done(request.result);
		transaction.onabort = () => failed(transaction.error);
	});
}

/** Writes down who is signed in by now. Without a new access token, the one of the same user still counts. */
function notice(user, token = user?.id === session.user?.id ? accessToken : null) {
	const former = JSON.stringify(session.user);
	session.user = user && { id: user.id, name: user.name, role: user.role };
	accessToken = token;
	const now = JSON.stringify(session.user);
	keep(sessionStorage, ACCESS_TOKEN, token && `${user.id} ${token}`);
	keep(store, USER, user && now);
	return former === now ? undefined : session.changed();
}

const keptUser = () => JSON.parse(store.getItem(USER));

/** Not randomUUID, which is there on HTTPS and localhost only. */
const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// A null key is a store that was emptied.
addEventListener("storage", ({ key }) => { if (key === USER || key === null) notice(keptUser()); });

const [tokenOf, keptToken] = sessionStorage.getItem(ACCESS_TOKEN)?.split(" ") ?? [];
notice(keptUser(), Number(tokenOf) === keptUser()?.id ? keptToken : null);

// An earlier version of this page kept the refresh token in the tab.
const former = locks && sessionStorage.getItem(REFRESH_TOKEN);
if (former) {
	sessionStorage.removeItem(REFRESH_TOKEN);
	await alone(async () => (await refreshToken.get()) || refreshToken.set(former));
}
