/*
 * The live box office: how this page works.
 *
 *   api.js    calls the public API: who is signed in, what to do when an answer is lost
 *   live.js   one WebSocket that says how many seats are free
 *   app.js    (this file) puts both on the page, top to bottom: the programme, booking, my bookings,
 *             what admins do, dialogs, words
 *
 * The server decides everything. The page keeps no rule and no limit of its own: it sends what was
 * typed, and shows in words what it is told, beside the field it is about. Text from the server only
 * ever becomes textContent, and the page's Content-Security-Policy (Trusted Types) holds it to that.
 *
 * Of two truths the newer wins. While an event is on the screen its seats come from the WebSocket; a
 * list that was read a moment ago gives way to that. Everything else is read again after it changed.
 */

import { Problem, logOut, read, resume, session, signIn, write } from "./api.js";
import { LiveSeats } from "./live.js";

const FEW_SEATS = 5;

const $ = (selector, within = document) => within.querySelector(selector);
const byId = (id) => document.getElementById(id);

/** The events on the screen, by id: `{ event, row }`. */
let shown = new Map();
/** The events that the reader holds a seat at, as far as we know. The server knows better. */
let held = new Set();

/** Where a list is, with the buttons to the page before and the page after. */
class Pages {
  number = 1;

  constructor(id, size, load) {
    Object.assign(this, { nav: byId(id), size, load });
    this.nav.append(byId("pager").content.cloneNode(true));
    for (const button of this.nav.querySelectorAll("button")) {
      button.onclick = () => busy(button, () => this.go(this.number + Number(button.dataset.step)));
    }
  }

  go(number) {
    this.number = number;
    return this.load();
  }

  query() {
    return new URLSearchParams({ page: this.number, limit: this.size });
  }

  /** Shows the place in a list of so many; if the list has become shorter than that, goes to its end. */
  show(total) {
    const last = Math.max(1, Math.ceil(total / this.size));
    if (this.number > last) return this.go(last);
    this.nav.hidden = last === 1;
    $("span", this.nav).textContent = `Page ${whole.format(this.number)} of ${whole.format(last)}`;
    for (const button of this.nav.querySelectorAll("button")) {
      const to = this.number + Number(button.dataset.step);
      button.disabled = to < 1 || to > last;
    }
  }
}

/* ---- The programme ---- */

const filter = byId("filter");
const eventPages = new Pages("event-pages", 10, () => loadEvents());
const loadEvents = newestOnly(byId("programme-error"), async (isNewest) => {
  rememberFilter();
  const { body } = await read(`/api/events?${eventQuery()}`);
  if (!isNewest()) return;
  showEvents(body.data);
  byId("found").textContent = body.total === 0 ? "No event is like that." : count(body.total, "event");
  await eventPages.show(body.total);
});

/** The form's fields are called as the API's. Days are the reader's own: they are sent as the instants of their ends. */
function eventQuery() {
  const query = eventPages.query();
  for (const [name, value] of new FormData(filter)) if (value) query.set(name, value);
  for (const [name, time] of [["date_from", "00:00"], ["date_to", "23:59:59.999"]]) {
    if (query.has(name)) query.set(name, toInstant(`${query.get(name)}T${time}`));
  }
  return query;
}

/** Keeps the filter in the address, so that a reload or a bookmark finds the same events. */
function rememberFilter() {
  const query = new URLSearchParams(new FormData(filter));
  query.set("page", eventPages.number);
  history.replaceState(null, "", `?${query}${location.hash}`);
}

function recallFilter() {
  const query = new URLSearchParams(location.search);
  filter.elements.date_from.value = query.get("date_from") ?? toInput(new Date()).slice(0, 10);
  for (const name of ["search", "date_to", "sort"]) if (query.has(name)) filter.elements[name].value = query.get(name);
  filter.elements.available_only.checked = query.has("available_only");
  eventPages.number = Number(query.get("page")) || 1;
}

function showEvents(events) {
  const before = shown;
  shown = new Map();
  for (const event of events) {
    const row = before.get(event.id)?.row ?? copyOf("event-row");
    row.dataset.id = event.id;
    shown.set(event.id, { event, row });
    fillEvent(event, row);
  }
  live.watch([...shown.keys()]);
  for (const [id, { event }] of shown) showSeats(live.newest(id) ?? event, id);
  showRows(byId("events"), [...shown.values()].map(({ row }) => row));
}

function fillEvent(event, row) {
  fillHead(event, row);
  const about = $(".about", row);
  about.hidden = !event.description;
  $("p", about).textContent = event.description ?? "";
  $(".admin", row).hidden = session.user?.role !== "admin";
  row.classList.toggle("begun", new Date(event.date) <= new Date());
  for (const button of row.querySelectorAll("[data-do]")) name(button, button.textContent, event.title);
}

function fillHead(event, row) {
  const date = new Date(event.date);
  $(".date", row).dateTime = event.date;
  for (const part of ["weekday", "day", "month"]) $(`.${part}`, row).textContent = dateParts[part].format(date);
  $(".title", row).textContent = event.title;
  $(".hour", row).textContent = hourFormat.format(date);
  $(".venue", row).textContent = event.venue;
}

/** Shows how many seats are free, and moves a little if that has changed. */
function showSeats({ available_seats: free, total_seats: total }, id) {
  const { event, row } = shown.get(id);
  const number = $(".free", row);
  const moved = number.textContent !== "" && Number(row.dataset.free) !== free;
  row.dataset.free = free;
  row.classList.toggle("few", free > 0 && free <= FEW_SEATS);
  row.classList.toggle("full", free === 0);
  number.textContent = free === 0 ? "Sold out" : whole.format(free);
  $(".of", row).textContent = free === 0 ? count(total, "seat") : `of ${whole.format(total)} free`;
  $(".bar", row).style.setProperty("--free", free / total);
  Object.assign(event, { available_seats: free, total_seats: total });
  showBooking(id);
  if (moved) stir(number);
  if (moved && row.contains(document.activeElement)) sayAloud(`${event.title}: ${freeSeats(free)}`);
}

function showBooking(id) {
  const { event, row } = shown.get(id);
  const button = $(".book", row);
  const mine = held.has(id);
  $(".held", row).hidden = !mine;
  button.dataset.do = mine ? "cancel" : "book";
  button.classList.toggle("primary", !mine);
  button.classList.toggle("quiet", mine);
  name(button, mine ? "Give back" : "Book", event.title);
}

const live = new LiveSeats({
  seats: (message) => showSeats(message, message.event_id),
  gone: (id) => {
    say(`“${shown.get(id).event.title}” was taken off the programme.`);
    loadEvents();
  },
  // Of the events we ask for, one is not there any more.
  refused: ({ code }) => { if (code === "not_found") loadEvents(); },
  state: (name) => {
    const wasLost = byId("live").dataset.state === "reconnecting";
    byId("live").dataset.state = name;
    byId("live").textContent = { live: "Live", reconnecting: "Reconnecting… counts may be old" }[name];
    if (name === "live" && wasLost) loadEvents();
  },
});

/* ---- Booking ---- */

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
    say(`${event.title}: ${words(problem)}`, true);
  }
  return loadEvents();
}

async function cancel(event) {
  const text = "Somebody else can have it at once. If you change your mind, you may have to be quick.";
  if (!(await sure(`Give back your seat at “${event.title}”?`, text, "Give back"))) return;
  try {
    await write("DELETE", `/api/events/${event.id}/register`);
    hold(event.id, false);
    say(`Your seat at “${event.title}” is free again.`);
  } catch (problem) {
    if (problem.code === "registration_not_found") hold(event.id, false);
    say(words(problem), true);
  }
  return Promise.all([loadEvents(), showView()]);
}

function hold(id, yes) {
  if (yes) held.add(id);
  else held.delete(id);
  if (shown.has(id)) showBooking(id);
}

/** Learns where the reader holds seats. Beyond the first thousand the server says so when asked to book. */
async function loadHeld() {
  const { user } = session;
  const path = "/api/users/me/registrations?status=confirmed&limit=1000";
  const { body } = user ? await read(path) : { body: [] };
  // Somebody else may have signed in meanwhile.
  if (session.user?.id !== user?.id) return;
  held = new Set(body.map((registration) => registration.event_id));
  for (const id of shown.keys()) showBooking(id);
}

/* ---- My bookings ---- */

const bookingPages = new Pages("booking-pages", 10, () => loadBookings());
const loadBookings = newestOnly(byId("bookings-error"), async (isNewest) => {
  const { body, headers } = await read(`/api/users/me/registrations?${bookingPages.query()}`);
  if (!isNewest()) return;
  const total = Number(headers.get("X-Total-Count"));
  byId("booked").textContent = total === 0 ? "You have not booked anything yet." : count(total, "booking");
  showRows(byId("booking-list"), body.map(bookingRow));
  await bookingPages.show(total);
});

function bookingRow({ event, status, registration_date }) {
  const row = copyOf("booking-row");
  row.event = event;
  const confirmed = status === "confirmed";
  fillHead(event, row);
  $(".when", row).textContent = `Booked ${instant.format(new Date(registration_date))}`;
  $(".state", row).textContent = confirmed ? "Booked" : event.deleted_at ? "Event taken off" : "Given back";
  row.classList.toggle("over", !confirmed);
  const button = $("[data-do]", row);
  button.hidden = !confirmed;
  name(button, button.textContent, event.title);
  return row;
}

/** Shows the programme or the bookings, as the address says. */
async function showView() {
  const view = location.hash === "#bookings" ? "bookings" : "programme";
  for (const name of ["programme", "bookings"]) {
    byId(name).hidden = name !== view;
    const link = $(`nav [href="#${name}"]`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view !== "bookings") return;
  if (session.user || (await askToSignIn())) return loadBookings();
  location.hash = "#programme";
}

/* ---- Who is here ---- */

async function sessionChanged() {
  const { user } = session;
  byId("sign-in").hidden = Boolean(user);
  byId("log-out").hidden = !user;
  byId("who").hidden = !user;
  byId("who").textContent = user?.name ?? "";
  byId("new-event").hidden = user?.role !== "admin";
  for (const { event, row } of shown.values()) fillEvent(event, row);
  if (!user) byId("booking-list").replaceChildren();
  if (!user && location.hash === "#bookings") location.hash = "#programme";
  await loadHeld();
}

/** Opens the sign-in dialog; resolves to whether somebody is signed in when it closes. */
async function askToSignIn() {
  showWay(false);
  await ask("sign-in-dialog", async (form) => {
    const body = Object.fromEntries(new FormData(form));
    await signIn(form.dataset.way === "up" ? "/api/auth/register" : "/api/auth/login", body);
    form.reset();
  });
  return Boolean(session.user);
}

/** The dialog in its one way or its other: signing in, or signing up. */
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

/* ---- What admins do ---- */

async function edit({ id }) {
  let { body: event, headers } = await read(`/api/events/${id}`);
  let before = eventFields(event);
  const saved = await askAboutEvent("Edit event", before, async (form) => {
    for (;;) {
      const after = formFields(form);
      const changes = Object.fromEntries(Object.entries(after).filter(([name, value]) => value !== before[name]));
      try {
        return await write("PUT", `/api/events/${id}`, changes, { "If-Match": headers.get("ETag") });
      } catch (problem) {
        if (problem.code !== "precondition_failed") throw problem;
      }
      // Somebody was quicker. If they only took seats, that is no reason not to save.
      ({ body: event, headers } = await read(`/api/events/${id}`));
      const theirs = merge(form, before, eventFields(event));
      before = eventFields(event);
      if (theirs.length) throw new Problem({ detail: `Nothing was saved: somebody else has changed this event meanwhile. ${theirs.join(" ")} Look again, then save.` });
    }
  });
  if (saved) await afterChange(`“${saved.body.title}” is saved.`);
}

async function create() {
  const created = await askAboutEvent("New event", null, (form) => write("POST", "/api/events", formFields(form)));
  if (created) await afterChange(`“${created.body.title}” is on the programme.`);
}

async function remove({ id, title }) {
  const { body } = await read(`/api/events/${id}`);
  const text = `It leaves the programme, and ${count(body.registration_count, "booking")} will be cancelled. This cannot be undone.`;
  if (!(await sure(`Delete “${title}”?`, text, "Delete"))) return;
  // What we do ourselves nobody has to tell us.
  live.watch([...shown.keys()].filter((other) => other !== id));
  const answer = await write("DELETE", `/api/events/${id}`).finally(loadEvents);
  say(`“${title}” is deleted; ${count(answer.body.cancelled_registrations, "booking")} cancelled.`);
}

function afterChange(said) {
  say(said);
  return loadEvents();
}

async function askAboutEvent(title, fields, submit) {
  const form = $("#event-dialog form");
  form.reset();
  byId("event-dialog-title").textContent = title;
  if (fields) for (const [name, value] of Object.entries(fields)) setField(form, name, value);
  let answer = null;
  await ask("event-dialog", async () => { answer = await submit(form); });
  return answer;
}

/** What an admin may change of an event. A time in a form has no seconds. */
function eventFields({ title, venue, date, total_seats, description }) {
  return { title, venue, date: toInstant(toInput(new Date(date))), total_seats, description };
}

function formFields(form) {
  const { title, venue, date, total_seats, description } = Object.fromEntries(new FormData(form));
  return {
    title,
    venue,
    date: date ? toInstant(date) : undefined,
    total_seats: total_seats === "" ? undefined : Number(total_seats),
    description: description || null,
  };
}

function setField(form, name, value) {
  form.elements[name].value = name === "date" ? toInput(new Date(value)) : (value ?? "");
}

/** Takes over what others changed where the form was left alone; says what they changed, in words. */
function merge(form, before, now) {
  const mine = formFields(form);
  const theirs = Object.keys(now).filter((name) => now[name] !== before[name]);
  for (const name of theirs) if (mine[name] === before[name]) setField(form, name, now[name]);
  return theirs.map((name) => {
    const label = form.elements[name].labels[0].firstChild.textContent.trim();
    return `${label}: ${name === "date" ? instant.format(new Date(now.date)) : (now[name] ?? "none")}.`;
  });
}

let attended;
const attendeePages = new Pages("attendee-pages", 50, () => loadAttendees());
const loadAttendees = newestOnly($("#attendees-dialog .wrong"), async (isNewest) => {
  const { body, headers } = await read(`/api/events/${attended}/registrations?${attendeePages.query()}`);
  if (!isNewest()) return;
  const total = Number(headers.get("X-Total-Count"));
  byId("attending").textContent = total === 0 ? "Nobody has booked yet." : `${count(total, "booking")}, newest first`;
  byId("attendees").replaceChildren(...body.map(attendeeRow));
  await attendeePages.show(total);
});

async function attendees({ id, title }) {
  attended = id;
  byId("attendees-title").textContent = `Attendees of “${title}”`;
  byId("attendees").replaceChildren();
  open(byId("attendees-dialog"));
  await attendeePages.go(1);
}

function attendeeRow({ user, registration_date, status }) {
  const row = copyOf("attendee-row");
  const texts = [user.name, user.email, instant.format(new Date(registration_date)), status];
  texts.forEach((text, column) => { row.cells[column].textContent = text; });
  row.classList.toggle("over", status !== "confirmed");
  return row;
}

/* ---- Dialogs and forms ---- */

/** Opens a dialog; the browser keeps the focus in it, and gives it back afterwards. Resolves when it closes. */
function open(dialog) {
  dialog.showModal();
  return new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
}

/** Opens a dialog with a form, and closes it once `submit` has succeeded. What went wrong is shown in it. */
async function ask(id, submit) {
  const dialog = byId(id);
  const form = $("form", dialog);
  clearErrors(form);
  form.onsubmit = (event) => {
    event.preventDefault();
    return busy($("[type=submit]", form), async () => {
      clearErrors(form);
      try {
        await submit(form);
        dialog.close();
      } catch (problem) {
        showErrors(form, problem);
      }
    });
  };
  await open(dialog);
}

/** Asks whether that is meant. */
async function sure(title, text, verb) {
  let yes = false;
  byId("sure-title").textContent = title;
  byId("sure-text").textContent = text;
  $("#sure-dialog [type=submit]").textContent = verb;
  await ask("sure-dialog", async () => { yes = true; });
  return yes;
}

/** Puts each error beside its field, and what is about no field below them all. */
function showErrors(form, problem) {
  const fields = (problem.errors ?? []).filter(({ field }) => form.elements[field]);
  for (const { field, message } of fields) {
    const input = form.elements[field];
    const note = Object.assign(document.createElement("small"), { className: "error", textContent: sentence(message) });
    // Within the label, so that it is read out with it.
    input.after(note);
    input.setAttribute("aria-invalid", "true");
  }
  if (fields.length) $("[aria-invalid]", form).focus();
  else showWrong($(".wrong", form), words(problem));
}

function clearErrors(form) {
  for (const note of form.querySelectorAll(".error")) note.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  showWrong($(".wrong", form), "");
}

function showWrong(place, text) {
  if (!place) return;
  place.hidden = !text;
  place.textContent = text;
}

/** Does the work of a button once, however often it is pressed meanwhile. */
async function busy(button, work) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    await work();
  } catch (problem) {
    say(words(problem), true);
  } finally {
    button.ariaBusy = "false";
  }
}

/** A loader whose answer counts only if it was not called again meanwhile. `place` shows what went wrong. */
function newestOnly(place, load) {
  let calls = 0;
  return async () => {
    const call = ++calls;
    let wrong = "";
    try {
      await load(() => call === calls);
    } catch (problem) {
      wrong = words(problem);
    }
    if (call === calls) showWrong(place, wrong);
  };
}

/* ---- Words, numbers and times ---- */

const english = navigator.language.startsWith("en") ? navigator.language : "en-GB";
const whole = new Intl.NumberFormat(english);
const dateParts = {
  weekday: new Intl.DateTimeFormat(english, { weekday: "short" }),
  day: new Intl.DateTimeFormat(english, { day: "numeric" }),
  month: new Intl.DateTimeFormat(english, { month: "short", year: "numeric" }),
};
const hourFormat = new Intl.DateTimeFormat(english, { hour: "numeric", minute: "2-digit", timeZoneName: "short" });
const instant = new Intl.DateTimeFormat(english, { dateStyle: "medium", timeStyle: "short" });
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

const count = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;
const freeSeats = (free) => (free === 0 ? "sold out" : `${count(free, "seat")} free`);
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** What a problem says, and of which parts. What is no problem of the API's is a fault of this page. */
function words(problem) {
  if (!(problem instanceof Problem)) console.error(problem);
  if (problem.errors?.length) return problem.errors.map(({ field, message }) => `${field} ${message}.`).join(" ");
  return problem.status === 429 ? `${problem.message} That is ${count(problem.retryAfter, "second")}.` : problem.message;
}

/** An instant as a datetime-local input has it: the reader's own time, to the minute. */
function toInput(date) {
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function toInstant(input) {
  return new Date(input).toISOString();
}

let toastEnds;
function say(text, isWrong = false) {
  const toast = byId("toast");
  toast.classList.toggle("bad", isWrong);
  toast.hidden = false;
  toast.textContent = text;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => { toast.hidden = true; }, 4000 + text.length * 50);
}

/** For screen readers: how it is once it has been calm for a moment, not each step on the way. */
let calm;
function sayAloud(text) {
  clearTimeout(calm);
  calm = setTimeout(() => { byId("aloud").textContent = text; }, 1500);
}

function stir(element) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  element.animate({ opacity: [0.2, 1], translate: ["0 -0.2em", "0 0"] }, { duration: 450, easing: "ease-out" });
}

/* ---- Small parts of the page ---- */

const copyOf = (template) => byId(template).content.firstElementChild.cloneNode(true);

/** A button says what it does; to who cannot see its row, also to which event. */
function name(button, verb, title) {
  button.textContent = verb;
  button.setAttribute("aria-label", `${verb}: ${title}`);
}

/** Rows in place stay there, so that the focus does. */
function showRows(list, rows) {
  const same = list.children.length === rows.length && rows.every((row, place) => list.children[place] === row);
  if (!same) list.replaceChildren(...rows);
}

/* ---- Beginning ---- */

function onRowClick({ target }) {
  const button = target.closest("[data-do]");
  const row = target.closest(".row");
  if (button) busy(button, () => actions[button.dataset.do](row.event ?? shown.get(Number(row.dataset.id)).event));
}

let typing;
filter.addEventListener("input", ({ target }) => {
  clearTimeout(typing);
  typing = setTimeout(() => eventPages.go(1), target.type === "search" ? 250 : 0);
});
filter.addEventListener("submit", (event) => event.preventDefault());
byId("events").addEventListener("click", onRowClick);
byId("booking-list").addEventListener("click", onRowClick);
byId("sign-in").addEventListener("click", askToSignIn);
byId("log-out").addEventListener("click", ({ currentTarget }) => busy(currentTarget, logOut));
byId("new-event").addEventListener("click", ({ currentTarget }) => busy(currentTarget, create));
byId("other-way").addEventListener("click", () => showWay($("#sign-in-dialog form").dataset.way === "in"));
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
addEventListener("hashchange", showView);
session.changed = () => sessionChanged().catch((problem) => say(words(problem), true));

byId("zone").textContent = `Times are those of ${zone}.`;
byId("input-zone").textContent = `(${zone})`;
recallFilter();
loadEvents();
await resume().catch((problem) => say(words(problem), true));
await showView();
