/* Dialogs, forms and their drafts, loading and trying again, and what has just happened. */

import { connection } from "./api.js";
import { count, sentence, words } from "./words.js";

export const $ = (selector, within = document) => within.querySelector(selector);
export const $$ = (selector, within = document) => within.querySelectorAll(selector);
export const byId = (id) => document.getElementById(id);
export const copyOf = (template) => byId(template).content.firstElementChild.cloneNode(true);

/* Dialogs and forms */

export function open(dialog) {
	dialog.showModal();
	return new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
}

/** Opens a dialog with a form, and closes it once `submit` has succeeded. */
export async function ask(id, submit) {
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

export async function sure(title, text, verb) {
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
	else showWrong($(".wrong", form), problem);
}

export function clearErrors(form) {
	for (const note of $$(".error", form)) note.remove();
	for (const input of $$("[aria-invalid]", form)) input.removeAttribute("aria-invalid");
	showWrong($(".wrong", form));
}

function showWrong(place, problem) {
	if (!place) return;
	place.hidden = !problem;
	place.classList.toggle("passing", Boolean(problem?.passing));
	place.textContent = problem ? words(problem) : "";
}

/** Does a button's work once, however often it is pressed meanwhile. */
export async function busy(button, work) {
	if (button.ariaBusy === "true") return;
	button.ariaBusy = "true";
	try {
		await work();
	} catch (problem) {
		sayWrong(problem);
	} finally {
		button.ariaBusy = "false";
	}
}

/* Drafts: what was typed stays until it is saved, discarded, or the user logs out */

const DRAFTS = "boxoffice.drafts";
const drafts = () => JSON.parse(sessionStorage.getItem(DRAFTS)) ?? {};
export const valuesOf = (form) => Object.fromEntries(new FormData(form));
export const changesOf = (form, before) => Object.fromEntries([...new FormData(form)].filter(([name, value]) => value !== before[name]));
export const forgetDrafts = () => sessionStorage.removeItem(DRAFTS);

/** Asks by a filled-in form, with the draft of this key in it. */
export async function askKeeping(id, key, submit) {
	const form = $(`#${id} form`);
	const note = $(".draft", form);
	const saved = valuesOf(form);
	const fill = (values = {}) => { for (const name in values) form.elements[name].value = values[name]; };
	const keep = (draft) => sessionStorage.setItem(DRAFTS, JSON.stringify({ ...drafts(), [key]: draft }));
	form.oninput = () => {
		const changes = changesOf(form, saved);
		keep(Object.keys(changes).length ? changes : undefined);
	};
	$("button", note).onclick = () => {
		fill(saved);
		keep();
		clearErrors(form);
		note.hidden = true;
		form.elements[0].focus();
	};
	note.hidden = !drafts()[key];
	fill(drafts()[key]);
	await ask(id, async () => {
		await submit(form);
		keep();
	});
	if (drafts()[key]) say("Not saved. Your draft is kept: open the form again to go on.");
}

/* Loading */

const LONGEST_WAIT_SECS = 30;
const loaders = new Set();

/**
 * A loader whose answer counts only if it was not called again meanwhile. What fails for now is tried
 * again: after the time that the server names, or ever more slowly. What went wrong is shown in
 * `place`, below its summary, with a button that tries at once; without a place it is not shown.
 */
export function loader(place, load) {
	const trouble = copyOf("trouble");
	$(".summary", place ?? trouble)?.after(trouble);
	let calls = 0;
	let failures = 0;
	let timer;
	let problem;

	const run = async () => {
		const call = ++calls;
		clearTimeout(timer);
		try {
			await load(() => call === calls);
			if (call === calls) show();
		} catch (wrong) {
			if (call === calls) show(wrong);
		}
	};
	const show = (wrong) => {
		failures = wrong ? failures + 1 : 0;
		problem = wrong;
		const text = wrong ? words(wrong) : "";
		const status = $(".summary [role=status]", place ?? trouble);
		if (wrong && status?.textContent === "Loading…") status.textContent = "Not loaded.";
		if (!wrong && trouble.contains(document.activeElement)) $("[tabindex]", place).focus();
		trouble.hidden = !wrong;
		// The same text again is not read out again.
		if ($(".wrong", trouble).textContent !== text) $(".wrong", trouble).textContent = text;
		if (wrong?.passing) wait(wrong.retryAfter || Math.min(LONGEST_WAIT_SECS, 2 ** failures));
		else $("small", trouble).textContent = "";
	};
	const wait = (seconds) => {
		$("small", trouble).textContent = seconds ? `Trying again in ${count(seconds, "second")}.` : "Trying again…";
		// With some chance in it: a thousand pages that failed at once do not come back at once.
		timer = setTimeout(seconds ? wait : run, seconds ? 1000 : 500 * Math.random(), seconds - 1);
	};
	$("button", trouble).onclick = ({ currentTarget }) => busy(currentTarget, () => tryAgain(true));
	loaders.add((all) => (problem && (all || !problem.retryAfter) ? run() : undefined));
	return run;
}

/** Tries at once what is waiting to be tried again; what the server has put off only if the reader wants `all`. */
export const tryAgain = (all) => Promise.all([...loaders].map((load) => load(all)));
addEventListener("online", () => tryAgain(false));

/* What has just happened, in words */

let toastEnds;
function toast(text, classes) {
	const toast = byId("toast");
	toast.className = ["toast", ...classes].join(" ");
	toast.hidden = false;
	toast.textContent = text;
	clearTimeout(toastEnds);
	toastEnds = setTimeout(() => { toast.hidden = true; }, 4000 + text.length * 50);
}

export const say = (text) => toast(text, []);
export const sayWrong = (problem, about = "") => toast(about + words(problem), problem.passing ? ["bad", "passing"] : ["bad"]);

// Once the server answers, what was wrong for now is wrong no longer.
connection.back = () => {
	for (const place of $$(".passing")) place.hidden = true;
};
