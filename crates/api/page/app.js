/*
 * The live box office, top to bottom. api.js calls the API, live.js hears of seats, dialogs.js has forms
 * and loading, words.js numbers and times.
 *
 * The server decides everything: the page sends what was typed, and shows what it is told, beside the
 * field it is about. Text from the server only ever becomes textContent: Trusted Types see to that.
 * The seats of an event on the screen come from the WebSocket, however new a list is.
 */

import { Problem, logOut, persist, read, readOwn, resume, session, signIn, write } from "./api.js";
import { $, $$, ask, askKeeping, busy, byId, changesOf, clearErrors, copyOf, forgetDrafts, loader, open, say, sayWrong, sure, tryAgain, valuesOf } from "./dialogs.js";
import { LiveSeats } from "./live.js";
import { count, dateParts, freeSeats, instant, toInput, toInstant, today, whole, zone } from "./words.js";

const FEW_SEATS = 5;

/** The rows of the programme by their event's id; each has its `event`. */
let shown = new Map();
/** The events that the reader holds a seat at, as far as we know. */
let held = new Set();
/** The event whose text is open. */
let opened = null;

/** Where a list is, with the buttons to the pages before and after. */
class Pages {
	number = 1;

	/** `turned` keeps the page for Back; it is told whether the list was only found to be shorter. */
	constructor(id, size, load, turned = () => {}) {
		Object.assign(this, { nav: byId(id), size, load, turned });
		this.nav.append(byId("pager").content.cloneNode(true));
		for (const button of $$("button", this.nav)) {
			button.onclick = () => busy(button, async () => {
				await this.go(this.number + Number(button.dataset.step), false);
				const top = $("[tabindex]", this.nav.parentElement);
				top.focus({ preventScroll: true });
				top.scrollIntoView();
			});
		}
	}

	go(number, isCorrection) {
		this.number = number;
		this.turned(isCorrection);
		return this.load();
	}

	query() {
		return new URLSearchParams({ page: this.number, limit: this.size });
	}

	/** Shows the place in a list of so many; goes to its end if the list has become shorter than that. */
	show(total) {
		const last = Math.max(1, Math.ceil(total / this.size));
		if (this.number > last) return this.go(last, true);
		this.nav.hidden = last === 1;
		$("span", this.nav).textContent = `Page ${whole.format(this.number)} of ${whole.format(last)}`;
		for (const button of $$("button", this.nav)) {
			const to = this.number + Number(button.dataset.step);
			button.disabled = to < 1 || to > last;
		}
	}
}

/* The address says what is shown: Back, a reload and a bookmark find it again */

const filter = byId("filter");
let search = location.search;

/** What is left out of the address. */
const standard = (name) => ({ date_from: today(), sort: "date" })[name] ?? "";

function writeAddress(isCorrection) {
	const query = new URLSearchParams([...new FormData(filter)].filter(([name, value]) => value !== standard(name)));
	if (eventPages.number > 1) query.set("page", eventPages.number);
	if (bookingPages.number > 1) query.set("bookings_page", bookingPages.number);
	if (opened) query.set("event", opened);
	history[isCorrection ? "replaceState" : "pushState"](null, "", `${location.pathname}${String(query) && `?${query}`}${location.hash}`);
	search = location.search;
}

function readAddress() {
	search = location.search;
	const query = new URLSearchParams(location.search);
	for (const name of ["search", "date_from", "date_to", "sort"]) filter.elements[name].value = query.get(name) ?? standard(name);
	filter.elements.available_only.checked = query.has("available_only");
	const number = (name) => Math.max(0, Math.trunc(query.get(name))) || 0;
	eventPages.number = number("page") || 1;
	bookingPages.number = number("bookings_page") || 1;
	opened = number("event") || null;
}

/** Back or Forward. An open dialog was about what was there before. */
function goBack() {
	for (const dialog of $$("dialog[open]")) dialog.close();
	if (search !== location.search) {
		readAddress();
		showOpened();
		loadEvents();
	}
	return showView();
}

/** Typing into the search is one step of the history, not one a letter. */
let typing;
let isTyping = false;
function onFilter({ target }) {
	opened = null;
	eventPages.number = 1;
	writeAddress(isTyping);
	isTyping = target.type === "search";
	clearTimeout(typing);
	typing = setTimeout(loadEvents, isTyping ? 250 : 0);
}

/* The programme */

const eventPages = new Pages("event-pages", 10, () => loadEvents(), (isCorrection) => {
	if (!isCorrection) opened = null;
	writeAddress(isCorrection);
});
const loadEvents = loader(byId("programme"), async (isNewest) => {
	const { body: { data, total } } = await read(`/api/events?${eventQuery()}`);
	const all = total || (await read("/api/events?limit=1")).body.total;
	const linked = await findLinked(data);
	if (!isNewest()) return;
	showEvents(linked ? [linked, ...data] : data);
	byId("found").textContent = total ? count(total, "event") : all ? "No event matches." : "No events yet.";
	byId("no-match").hidden = total > 0 || all === 0;
	byId("no-events").hidden = all > 0;
	await eventPages.show(total);
});

/** The event that is open, if it is not among these. */
async function findLinked(events) {
	const id = opened;
	if (!id || events.some((event) => event.id === id)) return null;
	try {
		return (await read(`/api/events/${id}`)).body;
	} catch (problem) {
		if (problem.status !== 404) throw problem;
		forget(id);
		say("This event is no longer on the programme.");
		return null;
	}
}

/** Days are the reader's own, and sent as the instants of their ends. */
function eventQuery() {
	const query = eventPages.query();
	for (const [name, value] of new FormData(filter)) if (value) query.set(name, value);
	const ends = { date_from: "00:00", date_to: "23:59:59.999" };
	for (const name in ends) if (query.has(name)) query.set(name, toInstant(`${query.get(name)}T${ends[name]}`));
	return query;
}

function showAll() {
	filter.reset();
	onFilter({ target: filter });
	byId("events").focus();
}

function showEvents(events) {
	const before = shown;
	shown = new Map(events.map((event) => [event.id, before.get(event.id) ?? copyOf("row")]));
	for (const event of events) fillEvent(event, shown.get(event.id));
	live.watch([...shown.keys()]);
	for (const [id, { event }] of shown) showSeats(live.newest(id) ?? event, id);
	// Rows in place stay there, so that the focus does.
	const rows = [...shown.values()];
	const list = byId("events");
	if (list.children.length !== rows.length || rows.some((row, place) => list.children[place] !== row)) list.replaceChildren(...rows);
}

function fillEvent(event, row) {
	fillRow(event, row, () => showStatus(row, held.has(event.id)));
	const about = $(".about", row);
	about.hidden = !event.description;
	about.open = event.id === opened;
	$("p", about).textContent = event.description ?? "";
	$(".admin", row).hidden = session.user?.role !== "admin";
	for (const button of $$(".admin button", row)) name(button, button.textContent, event.title);
}

/** One event's text is open at a time, and the address says which. */
function onToggle({ target: about }) {
	const { id } = about.closest(".row").event;
	if (about.open === (id === opened)) return;
	opened = about.open ? id : null;
	writeAddress();
	showOpened();
}

function showOpened() {
	for (const [id, row] of shown) $(".about", row).open = id === opened;
}

function forget(id) {
	if (id !== opened) return;
	opened = null;
	writeAddress(true);
}

function showSeats({ available_seats: free, total_seats: total }, id) {
	const row = shown.get(id);
	const number = $(".free", row);
	const moved = number.textContent !== "" && Number(row.dataset.free) !== free;
	row.dataset.free = free;
	row.classList.toggle("few", free > 0 && free <= FEW_SEATS);
	row.classList.toggle("full", free === 0);
	number.textContent = free === 0 ? "Sold out" : whole.format(free);
	$(".of", row).textContent = free === 0 ? count(total, "seat") : `of ${whole.format(total)} free`;
	$(".bar", row).style.setProperty("--free", free / total);
	Object.assign(row.event, { available_seats: free, total_seats: total });
	row.showStatus();
	if (moved) number.animate({ opacity: [0.2, 1] }, 450);
	if (moved && row.contains(document.activeElement)) sayAloud(`${row.event.title}: ${freeSeats(free)}`);
}

const live = new LiveSeats({
	seats: (message) => showSeats(message, message.event_id),
	gone: (id) => {
		say(`“${shown.get(id).event.title}” was taken off the programme.`);
		forget(id);
		loadEvents();
	},
	// Of the events we ask for, one is not there any more.
	refused: ({ code }) => { if (code === "not_found") loadEvents(); },
	state: (name) => {
		const wasLost = byId("live").dataset.state === "reconnecting";
		byId("live").dataset.state = name;
		byId("live").textContent = { live: "Live", reconnecting: "Reconnecting… counts may be old" }[name];
		if (name !== "live" || !wasLost) return;
		tryAgain(false);
		loadEvents();
	},
});

/* Rows, of the programme and of bookings */

function fillRow(event, row, showStatus) {
	const date = new Date(event.date);
	Object.assign(row, { event, showStatus });
	$(".date", row).dateTime = event.date;
	for (const [part, format] of Object.entries(dateParts)) $(`.${part}`, row).textContent = format.format(date);
	for (const part of ["title", "venue"]) $(`.${part}`, row).textContent = event[part];
}

const hasBegun = ({ event, refused }) => new Date(event.date) <= new Date() || refused === event.date;

/** Offers what can be done, and says why nothing can. `over` says what has become of a booking. */
function showStatus(row, mine, over) {
	const { event } = row;
	const begun = hasBegun(row);
	row.classList.toggle("begun", begun);
	$(".status", row).textContent = [mine ? "You have a seat" : over, begun && "Has begun"].filter(Boolean).join(" · ");
	const button = $(".book", row);
	button.dataset.do = mine ? "cancel" : "book";
	button.classList.toggle("primary", !mine);
	button.classList.toggle("quiet", mine);
	name(button, mine ? "Give back" : "Book", event.title);
	const nothing = begun || (!mine && (Boolean(over) || event.available_seats === 0));
	// The focus stays in the row.
	if (nothing && button === document.activeElement) $(".title", row).focus();
	button.hidden = nothing;
}

function showBeginnings() {
	for (const row of $$(".row")) if (row.classList.contains("begun") !== hasBegun(row)) row.showStatus();
}

/* Booking */

const actions = { book, cancel, edit, attendees, remove };

async function book(event) {
	if (!session.user && !(await askToSignIn())) return;
	if (held.has(event.id)) return say("You hold a seat at this event already.");
	try {
		await write("POST", `/api/events/${event.id}/register`);
		hold(event.id, true);
		say(`Booked: you have a seat at “${event.title}”.`);
	} catch (problem) {
		if (problem.code === "already_registered") hold(event.id, true);
		refused(problem, event);
	}
	return loadEvents();
}

async function cancel(event) {
	const text = "Somebody else can have it at once.";
	if (!(await sure(`Give back your seat at “${event.title}”?`, text, "Give back"))) return;
	try {
		await write("DELETE", `/api/events/${event.id}/register`);
		hold(event.id, false);
		say(`Your seat at “${event.title}” is free again.`);
	} catch (problem) {
		if (problem.code === "registration_not_found") hold(event.id, false);
		refused(problem, event);
	}
	return Promise.all([loadEvents(), showView()]);
}

function refused(problem, event) {
	// By the server's clock, which is the one that counts.
	const row = shown.get(event.id);
	if (row && problem.code === "event_started") row.refused = event.date;
	sayWrong(problem, `${event.title}: `);
}

function hold(id, yes) {
	if (yes) held.add(id);
	else held.delete(id);
	shown.get(id)?.showStatus();
}

/** Beyond the first thousand the server says so when asked to book. */
const loadHeld = loader(null, async (isNewest) => {
	const path = "/api/users/me/registrations?status=confirmed&limit=1000";
	const { body } = session.user ? await readOwn(path) : { body: [] };
	if (!isNewest()) return;
	held = new Set(body.map((registration) => registration.event_id));
	for (const row of shown.values()) row.showStatus();
});

async function readRegistrations(path, pages) {
	const [{ body, headers }, confirmed] = await Promise.all([
		readOwn(`${path}?${pages.query()}`),
		readOwn(`${path}?status=confirmed&limit=1`),
	]);
	const [total, stand] = [headers, confirmed.headers].map((each) => Number(each.get("X-Total-Count")));
	return { body, total, said: count(stand, "booking") + (total > stand ? `, ${whole.format(total - stand)} cancelled` : "") };
}

/* My bookings */

const bookingPages = new Pages("booking-pages", 10, () => loadBookings(), (isCorrection) => writeAddress(isCorrection));
const loadBookings = loader(byId("bookings"), async (isNewest) => {
	if (!session.user) return;
	const { body, total, said } = await readRegistrations("/api/users/me/registrations", bookingPages);
	if (!isNewest()) return;
	byId("booked").textContent = total === 0 ? "You have not booked anything yet." : `${said}.`;
	byId("booking-list").replaceChildren(...body.map(bookingRow));
	await bookingPages.show(total);
});

function bookingRow({ event, status, registration_date }) {
	const row = copyOf("row");
	const confirmed = status === "confirmed";
	fillRow(event, row, () => showStatus(row, confirmed, event.deleted_at ? "Event taken off" : "Given back"));
	$(".when", row).textContent = `Booked ${instant.format(new Date(registration_date))}`;
	row.classList.toggle("over", !confirmed);
	row.showStatus();
	return row;
}

async function showView() {
	const view = location.hash === "#bookings" ? "bookings" : "programme";
	document.title = view === "bookings" ? "My bookings · Box office" : "Box office";
	for (const name of ["programme", "bookings"]) {
		byId(name).hidden = name !== view;
		const link = $(`nav [href="#${name}"]`);
		if (name === view) link.setAttribute("aria-current", "page");
		else link.removeAttribute("aria-current");
	}
	if (view !== "bookings") return;
	if (session.user) return loadBookings();
	if (!(await askToSignIn())) leaveBookings();
}

function leaveBookings() {
	if (location.hash !== "#bookings") return;
	history.replaceState(null, "", `${location.pathname}${location.search}`);
	showView();
}

/* Who is here */

const loadUser = loader(null, resume);

async function sessionChanged() {
	showUser();
	byId("booking-list").replaceChildren();
	byId("booked").textContent = "Loading…";
	if (!session.user) leaveBookings();
	else if (location.hash === "#bookings") loadBookings();
	await loadHeld();
	// Another tab may have answered.
	if (session.user) byId("sign-in-dialog").close();
}

function showUser() {
	const { user } = session;
	byId("sign-in").hidden = Boolean(user);
	byId("log-out").hidden = !user;
	byId("who").hidden = !user;
	byId("who").textContent = user?.name ?? "";
	for (const place of $$("[data-role]")) place.hidden = (place.dataset.role === "admin") !== (user?.role === "admin");
	for (const row of shown.values()) $(".admin", row).hidden = user?.role !== "admin";
}

async function askToSignIn() {
	showWay(false);
	await ask("sign-in-dialog", async (form) => {
		const body = Object.fromEntries(new FormData(form));
		await signIn(form.dataset.way === "up" ? "/api/auth/register" : "/api/auth/login", body);
		form.reset();
	});
	return Boolean(session.user);
}

function showWay(up) {
	const form = $("#sign-in-dialog form");
	form.dataset.way = up ? "up" : "in";
	$("[data-for]", form).hidden = !up;
	form.elements.name.disabled = !up;
	form.elements.password.autocomplete = up ? "new-password" : "current-password";
	byId("sign-in-title").textContent = $("[type=submit]", form).textContent = up ? "Sign up" : "Sign in";
	byId("other-way").textContent = up ? "Known here? Sign in" : "New here? Sign up";
	clearErrors(form);
}

/* What admins do */

const readEvent = (id) => persist(() => read(`/api/events/${id}`));

async function edit({ id }) {
	let { body, headers } = await readEvent(id);
	let before = toForm(body);
	const saved = await askAboutEvent("Edit event", id, before, async (form) => {
		for (;;) {
			try {
				return await write("PUT", `/api/events/${id}`, toEvent(changesOf(form, before)), { "If-Match": headers.get("ETag") });
			} catch (problem) {
				if (problem.code !== "precondition_failed") throw problem;
			}
			// Another was quicker. If they only took seats, that is no reason not to save.
			({ body, headers } = await readEvent(id));
			const now = toForm(body);
			const theirs = Object.keys(now).filter((name) => now[name] !== before[name]);
			// Theirs stands where the form was left alone.
			const mine = changesOf(form, before);
			for (const name of theirs) if (!(name in mine)) form.elements[name].value = now[name];
			before = now;
			if (theirs.length) throw new Problem({ detail: `Nothing was saved: somebody else has changed this event meanwhile. ${theirs.map((name) => inWords(form, name, now)).join(" ")} Look again, then save.` });
		}
	});
	if (saved) await afterChange(`“${saved.body.title}” is saved.`);
}

function inWords(form, name, { [name]: value }) {
	const label = form.elements[name].labels[0].firstChild.textContent.trim();
	return `${label}: ${name === "date" ? instant.format(new Date(value)) : value || "none"}.`;
}

async function create() {
	const created = await askAboutEvent("New event", "new", {}, (form) => write("POST", "/api/events", toEvent(valuesOf(form))));
	if (created) await afterChange(`“${created.body.title}” is on the programme.`);
}

async function remove({ id, title }) {
	const { body } = await readEvent(id);
	const text = `It leaves the programme, and ${count(body.registration_count, "booking")} will be cancelled. This cannot be undone.`;
	if (!(await sure(`Delete “${title}”?`, text, "Delete"))) return;
	live.watch([...shown.keys()].filter((other) => other !== id));
	const answer = await write("DELETE", `/api/events/${id}`).finally(() => {
		forget(id);
		loadEvents();
	});
	say(`“${title}” is deleted; ${count(answer.body.cancelled_registrations, "booking")} cancelled.`);
}

function afterChange(said) {
	say(said);
	return loadEvents();
}

async function askAboutEvent(title, id, fields, submit) {
	const form = $("#event-dialog form");
	form.reset();
	byId("event-dialog-title").textContent = title;
	for (const name in fields) form.elements[name].value = fields[name];
	let answer = null;
	await askKeeping("event-dialog", `${session.user.id}/${id}`, async () => { answer = await submit(form); });
	return answer;
}

/** An event's fields as a form has them: texts, and a time without seconds. */
function toForm({ title, venue, date, total_seats, description }) {
	return { title, venue, date: toInput(new Date(date)), total_seats: String(total_seats), description: description ?? "" };
}

/** What a form has of an event, as the API wants it. */
function toEvent({ ...fields }) {
	if ("date" in fields) fields.date = fields.date ? toInstant(fields.date) : undefined;
	if ("total_seats" in fields) fields.total_seats = fields.total_seats ? Number(fields.total_seats) : undefined;
	if ("description" in fields) fields.description ||= null;
	return fields;
}

let attended;
const attendeePages = new Pages("attendee-pages", 50, () => loadAttendees());
const loadAttendees = loader(byId("attendees-dialog"), async (isNewest) => {
	if (!byId("attendees-dialog").open) return;
	const { body, total, said } = await readRegistrations(`/api/events/${attended}/registrations`, attendeePages);
	if (!isNewest()) return;
	byId("attending").textContent = total === 0 ? "No bookings yet." : `${said}. Newest first.`;
	byId("attendees").replaceChildren(...body.map(attendeeRow));
	await attendeePages.show(total);
});

async function attendees({ id, title }) {
	attended = id;
	byId("attendees-title").textContent = `Attendees of “${title}”`;
	byId("attendees").replaceChildren();
	byId("attending").textContent = "Loading…";
	open(byId("attendees-dialog"));
	attendeePages.number = 1;
	await loadAttendees();
}

function attendeeRow({ user, registration_date, status }) {
	const row = copyOf("attendee-row");
	const texts = [user.name, user.email, instant.format(new Date(registration_date)), status];
	texts.forEach((text, column) => { row.cells[column].textContent = text; });
	row.classList.toggle("over", status !== "confirmed");
	return row;
}

/* Small parts of the page */

/** For screen readers: how it is once it has been calm for a moment. */
let calm;
function sayAloud(text) {
	clearTimeout(calm);
	calm = setTimeout(() => { byId("aloud").textContent = text; }, 1500);
}

/** A button says what it does; to a screen reader also to which event. */
function name(button, verb, title) {
	button.textContent = verb;
	button.setAttribute("aria-label", `${verb}: ${title}`);
}

/* Beginning */

function onRowClick({ target }) {
	const button = target.closest("[data-do]");
	if (button) busy(button, () => actions[button.dataset.do](button.closest(".row").event));
}

filter.oninput = onFilter;
filter.onchange = () => { isTyping = false; };
filter.onsubmit = (event) => event.preventDefault();
byId("show-all").onclick = showAll;
byId("events").onclick = byId("booking-list").onclick = onRowClick;
byId("events").addEventListener("toggle", onToggle, true);
byId("sign-in").onclick = askToSignIn;
byId("log-out").onclick = ({ currentTarget }) => busy(currentTarget, () => { forgetDrafts(); return logOut(); });
byId("new-event").onclick = ({ currentTarget }) => busy(currentTarget, create);
byId("other-way").onclick = () => showWay($("#sign-in-dialog form").dataset.way === "in");
$(".skip").onclick = (event) => { event.preventDefault(); byId("main").focus(); };
for (const button of $$("[data-close]")) button.onclick = () => button.closest("dialog").close();
addEventListener("popstate", goBack);
setInterval(showBeginnings, 1000);
session.changed = sessionChanged;

for (const place of $$(".zone")) place.textContent = `Times are those of ${zone}.`;
byId("input-zone").textContent = `(${zone})`;
readAddress();
showUser();
loadEvents();
loadUser();
loadHeld();
showView();
