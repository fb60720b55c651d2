// Imported before anything else. Under LANG=C.UTF-8, WebKitGTK says that the language is "C", which Intl refuses by throwing,
// and the chart library asks Intl while it is being loaded: without this the window would stay white.

/** The language `navigator` gives, or English where Intl does not know it. */
export function knownLanguage(language: string | undefined): string {
  try {
    new Intl.NumberFormat(language);
    return language ?? 'en-US';
  } catch {
    return 'en-US';
  }
}

export function guardLanguage(nav: Navigator): void {
  const language = knownLanguage(nav.language);
  if (language === nav.language) return;
  Object.defineProperty(nav, 'language', { value: language, configurable: true });
  Object.defineProperty(nav, 'languages', { value: [language], configurable: true });
}

guardLanguage(navigator);
