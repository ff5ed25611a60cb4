/* Words, numbers and times. Times are in the reader's zone, and name it. */

import { Problem } from "./api.js";

const english = navigator.language.startsWith("en") ? navigator.language : "en-GB";
const format = (parts) => new Intl.DateTimeFormat(english, parts);
const clock = { hour: "numeric", minute: "2-digit", timeZoneName: "short" };

export const whole = new Intl.NumberFormat(english);
export const dateParts = {
	weekday: format({ weekday: "short" }),
	day: format({ day: "numeric" }),
	month: format({ month: "short", year: "numeric" }),
	hour: format(clock),
};
export const instant = format({ day: "numeric", month: "short", year: "numeric", ...clock });
export const zone = format().resolvedOptions().timeZone;

export const count = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;
export const freeSeats = (free) => (free === 0 ? "sold out" : `${count(free, "seat")} free`);
export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** What a problem says. What is none of the API's is a fault of this page. */
export function words(problem) {
	if (!(problem instanceof Problem)) console.error(problem);
	const { code, errors, message, retryAfter } = problem;
	if (errors?.length) return errors.map(({ field, message }) => `${field} ${message}.`).join(" ");
	if (code === "rate_limited") return "Too many requests came from your network.";
	if (code === "too_many_attempts") return `Too many attempts to sign in have failed. Please try again in ${count(retryAfter, "second")}.`;
	return message;
}

/** An instant as a datetime-local input has it. */
export const toInput = (date) => new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
export const toInstant = (input) => new Date(input).toISOString();
export const today = () => toInput(new Date()).slice(0, 10);
