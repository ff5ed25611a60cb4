/*
 * Seat counts that move by themselves: one WebSocket for all events on the screen, as in docs/live.md.
 * The first message about an event is its present state; what is not newer than what we have is dropped.
 * A lost connection is made again ever more slowly, and not by a thousand pages at once. One can also be
 * dead without a word: so now and then we subscribe again, which a server that is there answers.
 */

const MOST_EVENTS = 100;
const LONGEST_WAIT_MS = 10_000;
const STEADY_MS = 5_000;
const CHECK_EVERY_MS = 15_000;
const ASK_AGAIN_MS = 2_000;

export class LiveSeats {
	#listener;
	#socket = null;
	#wanted = new Set();
	#newest = new Map();
	#tries = 0;
	#timer;
	#again;
	#asked = 0;
	#heard = 0;

	/** `listener` has `seats(message)`, `gone(id)`, `refused(error)`, `state(name)`. */
	constructor(listener) {
		this.#listener = listener;
		this.#connect();
		setInterval(() => this.#check(), CHECK_EVERY_MS);
		addEventListener("online", () => this.#hurry());
		document.addEventListener("visibilitychange", () => {
			if (!document.hidden) this.#hurry();
		});
	}

	watch(ids) {
		const wanted = new Set(ids.slice(0, MOST_EVENTS));
		const fewer = [...this.#wanted].filter((id) => !wanted.has(id));
		const more = [...wanted].filter((id) => !this.#wanted.has(id));
		this.#wanted = wanted;
		for (const id of fewer) this.#newest.delete(id);
		this.#send("unsubscribe", fewer);
		this.#send("subscribe", more);
	}

	newest(id) {
		return this.#newest.get(id);
	}

	#connect() {
		const address = new URL("/api/live", location.href);
		address.protocol = address.protocol.replace("http", "ws");
		const socket = new WebSocket(address);
		let opened = Infinity;
		this.#socket = socket;
		socket.onopen = () => {
			opened = this.#heard = Date.now();
			this.#listener.state("live");
			this.#send("subscribe", [...this.#wanted]);
		};
		socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
		socket.onclose = () => {
			if (Date.now() - opened > STEADY_MS) this.#tries = 0;
			this.#lost();
		};
	}

	#lost() {
		this.#newest.clear();
		this.#listener.state("reconnecting");
		const wait = Math.min(LONGEST_WAIT_MS, 250 * 2 ** this.#tries++);
		this.#timer = setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2));
	}

	#hurry() {
		this.#check();
		if (this.#socket.readyState !== WebSocket.CLOSED) return;
		clearTimeout(this.#timer);
		this.#connect();
	}

	/** Asks whether the server is there; if the question before had no answer, it is not. */
	#check() {
		const socket = this.#socket;
		if (socket.readyState !== WebSocket.OPEN || this.#wanted.size === 0) return;
		if (this.#asked > this.#heard && Date.now() - this.#asked > ASK_AGAIN_MS) {
			socket.onmessage = socket.onclose = null;
			socket.close();
			return this.#lost();
		}
		this.#asked = Date.now();
		this.#send("subscribe", [...this.#wanted].slice(0, 1));
	}

	#send(verb, ids) {
		if (ids.length && this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ [verb]: ids }));
	}

	#receive(message) {
		this.#heard = Date.now();
		if (message.error) this.#refused(message.error);
		else if (this.#wanted.has(message.deleted)) this.#listener.gone(message.deleted);
		else if (this.#isNews(message)) {
			this.#newest.set(message.event_id, message);
			this.#listener.seats(message);
		}
	}

	#refused(error) {
		this.#listener.refused(error);
		if (error.code !== "unavailable") return;
		clearTimeout(this.#again);
		this.#again = setTimeout(() => this.#send("subscribe", [...this.#wanted]), ASK_AGAIN_MS);
	}

	#isNews({ event_id, version }) {
		return this.#wanted.has(event_id) && version > (this.#newest.get(event_id)?.version ?? -1);
	}
}
