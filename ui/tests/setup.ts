import { cleanup } from '@testing-library/svelte';
import { afterEach, vi } from 'vitest';

// jsdom has no canvas and lays nothing out.
vi.mock('uplot', () => ({ default: vi.fn(function () { return { setData: vi.fn(), setSize: vi.fn(), destroy: vi.fn() }; }) }));
vi.mock('uplot/dist/uPlot.min.css', () => ({}));

if (typeof window !== 'undefined') {
  globalThis.ResizeObserver = class {
    observe() {}
    unobserve() {}
    disconnect() {}
  };
  // It knows dialogs, but not how to show them over the rest.
  HTMLDialogElement.prototype.showModal ??= function (this: HTMLDialogElement) {
    this.open = true;
  };
  HTMLDialogElement.prototype.close ??= function (this: HTMLDialogElement) {
    this.open = false;
  };
  window.scrollTo = () => undefined;
  Element.prototype.scrollIntoView = () => undefined;
  window.matchMedia ??= (query: string) => ({
    matches: false, media: query, onchange: null, addEventListener() {}, removeEventListener() {}, addListener() {}, removeListener() {}, dispatchEvent: () => false,
  });
}

afterEach(() => cleanup());
