// The keys that work anywhere in the window.

/**
 * Whether Alt alone is held: no key of the window acts without it, so that nobody who speaks or brushes a letter does something by it
 * (WCAG 2.1.4). AltGr writes signs and counts as Ctrl and Alt.
 */
export const withAlt = (event: KeyboardEvent) => event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
