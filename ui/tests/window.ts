// The whole window in front of a fake app, as the tests of the pages want it.
import { render } from '@testing-library/svelte';
import userEvent from '@testing-library/user-event';
import { tick } from 'svelte';
import App from '../src/App.svelte';
import { Fake } from '../src/ipc/fake';
import type { Scene } from '../src/ipc/fake-scenes';
import { Store } from '../src/state/store.svelte';

export async function openWindow(scene: Scene, prepare: (fake: Fake) => void = () => undefined) {
  const fake = new Fake(scene);
  prepare(fake);
  const store = new Store(fake);
  const screen = render(App, { props: { store } });
  await store.open();
  await tick();
  return { fake, store, user: userEvent.setup(), ...screen };
}

export type Opened = Awaited<ReturnType<typeof openWindow>>;

/** What a reader of the page sees, in one line: the pieces of text with a space between them. */
export function words(element: Element | null): string {
  if (!element) return '';
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const pieces: string[] = [];
  while (texts.nextNode()) pieces.push(texts.currentNode.textContent ?? '');
  // The decimals of an amount are a piece of their own.
  return pieces.join(' ').replace(/\s+/g, ' ').replace(/ (\.\d)/g, '$1').trim();
}
