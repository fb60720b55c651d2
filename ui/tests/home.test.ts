import { tick } from 'svelte';
import uPlot from 'uplot';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Card } from '../src/ipc/view';
import { type Opened, openWindow, words } from './window';

let opened: Opened | undefined;
async function show(...args: Parameters<typeof openWindow>) {
  opened = await openWindow(...args);
  return opened;
}
afterEach(() => opened?.store.close());

const cells = (container: Element) => [...container.querySelectorAll('.money > div')].map(words);

describe('Home on a network that pays', () => {
  it('shows the sentence as the only thing read aloud', async () => {
    const { getByRole } = await show('open');
    expect(words(getByRole('status'))).toBe('Answering 3 questions on the RTX 4090.');
  });

  it('gives every figure its kind', async () => {
    const { container } = await show('open');
    expect(cells(container)).toEqual([
      'Earning now 0.0838 TON/h signed last hour',
      'Today 0.612 TON signed 1,020 jobs',
      'This month 12.28 TON signed 19,204 jobs',
      'Speed 149 tok/s measured last 10 min',
    ]);
    for (const panel of container.querySelectorAll('.gpu')) expect(words(panel.querySelector('.kind'))).toBe('measured');
  });

  it('shows an amount that is not known as no data yet, and a true zero as 0', async () => {
    const { container } = await show('open', (fake) => {
      fake.home_ = { ...fake.home_, signed_last_hour: null, tokens_per_second: null, today: { ...fake.home_.today!, signed: { nanoton: '0', kind: 'signed' } } };
    });
    const [now, today, , speed] = cells(container);
    expect(now).toBe('Earning now no data yet not read yet');
    expect(today).toBe('Today 0 TON signed 1,020 jobs');
    expect(speed).toBe('Speed none lately comes with the next answer');
  });

  it('does not say that there is no speed yet once something was answered', async () => {
    const { container, fake } = await show('empty');
    expect(words(container)).toContain('Speed no data yet comes with the first answer');
    fake.say({ event: 'home', data: { ...fake.home_, month: { ...fake.home_.month!, answered: 1 } } });
    await tick();
    expect(words(container)).toContain('Speed none lately comes with the next answer');
    expect(words(container)).not.toContain('first answer');
  });

  it('shows claims that did not hold', async () => {
    const { container } = await show('open');
    expect(words(container)).toContain('Claims that did not hold, not counted 1');
  });

  it('says plainly that the main network does not take this PC', async () => {
    const { getByRole, container } = await show('open');
    expect(getByRole('heading', { name: 'Can this PC join Cocoon?' })).toBeTruthy();
    expect(words(container)).toContain('Not today.');
  });
});

describe('Home in practice', () => {
  it('never shows money', async () => {
    const { container } = await show('practice', (fake) => {
      const much = { nanoton: '987654321000', kind: 'paid' as const };
      fake.home_ = { ...fake.home_, signed_last_hour: much, today: { ...fake.home_.today!, counted: much, signed: much }, month: { ...fake.home_.month!, counted: much, signed: much } };
    });
    expect(words(container)).not.toMatch(/\bTON\b|987/);
    expect(words(container)).not.toMatch(/\bpaid\b|\bsigned\b/i);
    expect(cells(container)).toEqual([
      'Earning now Nothing practice pays nothing',
      'Practice jobs today 1,020 measured 4 unanswered',
      'Speed 149 tok/s measured last 10 min',
      'This month 19,204 jobs measured pays nothing',
    ]);
  });

  it('offers to practise, not to earn', async () => {
    const { container, getAllByRole } = await show('paused');
    expect(getAllByRole('button', { name: 'Start practising' })).toHaveLength(3);
    expect(words(container)).not.toContain('Start earning');
  });

  it('treats a test network alike, in its own words', async () => {
    const { container } = await show('open', (fake) => {
      fake.home_ = { ...fake.home_, network: { ...fake.home_.network, pays_nothing: true } };
    });
    expect(words(container)).not.toMatch(/\bTON\b/);
    expect(cells(container)[0]).toBe('Earning now Nothing a test network pays nothing');
  });
});

describe('the cards', () => {
  it('show their readings and whose memory it is', async () => {
    const { getByRole } = await show('open');
    const card = words(getByRole('region', { name: 'RTX 4090' }));
    expect(card).toContain('Qwen3-8B, 3 jobs running');
    expect(card).toContain('Temperature 67 °C Power 212 W Fan 48% Speed 154 tok/s');
    expect(card).toContain('memory: 17.2 GB used by us 1.1 GB by others, of 24 GB');
    expect(getByRole('img', { name: /^Load of RTX 4090 in the last 10 minutes: between \d+% and \d+%, now 74%\.$/ })).toBeTruthy();
  });

  it('never show what is unknown as 0', async () => {
    const { getByRole } = await show('unknown');
    const unread = words(getByRole('region', { name: 'Radeon RX 7900 XTX' }));
    expect(unread).not.toMatch(/\b0\b/);
    expect(unread).toContain('Temperature no reading Power no reading Fan no reading Speed none lately');
    expect(unread).toContain('Memory no reading');
    const asleep = words(getByRole('region', { name: 'Arc A770' }));
    expect(asleep).toContain('Asleep, not woken to be read');
    expect(asleep).toContain('of 16 GB; in use: no reading');
    expect(asleep).not.toMatch(/\b0\b/);
  });

  it('hand new points to the chart, without drawing it anew', async () => {
    const { fake, container } = await show('open');
    const made = vi.mocked(uPlot).mock.results.length;
    const chart = vi.mocked(uPlot).mock.results.at(-2)?.value as { setData: ReturnType<typeof vi.fn> };
    const moved: Card[] = fake.cards_.map((card) => ({ ...card, line: [...card.line.slice(1), 99] }));
    fake.say({ event: 'cards', data: moved });
    await tick();
    expect(vi.mocked(uPlot).mock.results.length).toBe(made);
    const [xs, ys] = chart.setData.mock.calls.at(-1)?.[0] as [number[], (number | null)[]];
    expect(xs).toHaveLength(120);
    expect(ys.at(-1)).toBe(99);
    expect(container.querySelectorAll('.spark')).toHaveLength(2);
  });

  it('leave a gap where a line has not begun', async () => {
    await show('fallback');
    const made = vi.mocked(uPlot).mock.calls.at(-1) as unknown as [unknown, [number[], (number | null)[]]];
    expect(made[1][1]).toHaveLength(120);
    expect(made[1][1].slice(0, 60).every((point) => point === null)).toBe(true);
  });

  it('show the processor where the model runs there, and why', async () => {
    const { getByRole, container } = await show('fallback');
    expect(getByRole('region', { name: 'Ryzen 7 5800X' })).toBeTruthy();
    expect(words(container)).toContain('The model runs on the processor, although the graphics card should do it. Reason: no adapter offers');
  });

  it('say that a card is not used in its fastest way, and why, once it is known', async () => {
    const { container: other } = await show('open');
    expect(words(other)).not.toContain('CUDA');
    const { container, fake } = await show('passed_over');
    expect(words(container)).toContain(
      'Your NVIDIA card cannot be used in its fastest way (CUDA). The model runs all the same, in another way that may be slower. Reason: the graphics card cannot be trusted: the kernel',
    );
    fake.say({ event: 'home', data: { ...fake.home_, backend: 'cpu', adapter: null } });
    await tick();
    expect(words(container)).toContain('Your NVIDIA card cannot be used (through CUDA). The processor does its work, which is slower. Reason:');
    expect(words(container)).not.toContain('fastest way');
  });

  it('say how the card in use was set up and what was measured then, and nothing of the others', async () => {
    const { container, fake } = await show('open');
    const lines = () => [...container.querySelectorAll('.gpu')].map((panel) => words(panel)).filter((text) => text.includes('Set up'));
    expect(lines()).toHaveLength(1);
    expect(lines()[0]).toContain('. Measured then: 151 tokens/s for one answer, 2,310 tokens/s of questions.');
    const details = container.querySelector('.gpu details');
    expect(details?.hasAttribute('open')).toBe(false);
    expect(words(details as HTMLElement)).toContain('w64-l64-r4-subgroups');
    fake.say({ event: 'home', data: { ...fake.home_, tuned: { way: 'w64-l16-r4', at: null, tokens_per_second: null, prompt_tokens_per_second: 8 } } });
    await tick();
    expect(lines()[0]).toContain('Set up at an earlier start.');
    expect(lines()[0]).not.toContain('0 tokens/s for one answer');
    fake.say({ event: 'home', data: { ...fake.home_, tuned: null } });
    await tick();
    expect(lines()).toHaveLength(0);
  });

  it('say it also of a card that this PC does not list', async () => {
    const { container, fake } = await show('unlisted');
    const panel = () => [...container.querySelectorAll('.panel')].map((it) => words(it)).find((text) => text.includes('Set up'));
    expect(panel()).toContain('RTX 4090');
    expect(panel()).toContain('this PC does not list it');
    expect(panel()).toContain('Measured then: 151 tokens/s for one answer');
    fake.say({ event: 'home', data: { ...fake.home_, tuned: null } });
    await tick();
    expect(panel()).toBeUndefined();
  });

  it('say that a card is being tried out, in plain words, and only while it is', async () => {
    const { container, fake } = await show('loading');
    expect(words(container)).toContain('Loading the model');
    expect(words(container)).not.toContain('starts again');
    expect(words(container)).toContain("its results are compared with the processor's (way 1 of 6)");
    fake.say({ event: 'home', data: { ...fake.home_, trying: { measuring: true, number: 2, of: 3 } } });
    await tick();
    expect(words(container)).toContain('being measured for the fastest way to use it (way 2 of 3)');
    fake.say({ event: 'home', data: { ...fake.home_, trying: null } });
    await tick();
    expect(words(container)).not.toContain('way 2 of 3');
  });

  it('say that there is none', async () => {
    const { getByRole } = await show('empty');
    expect(getByRole('heading', { name: 'No card was found' })).toBeTruthy();
  });
});

it('ends the app when the owner wants that', async () => {
  const { fake, user, getByRole } = await show('open');
  await user.click(getByRole('button', { name: 'Quit Chrysalis' }));
  expect(fake.quits).toBe(1);
});

describe('pausing', () => {
  it('acts at once on the left side, and greys what is not yet so', async () => {
    const { fake, user, getAllByRole, container } = await show('open');
    await user.click(getAllByRole('button', { name: 'Pause' }).at(-1)!);
    expect(fake.wishes).toEqual([{ wish: 'pause', until: null }]);
    expect(container.querySelector<HTMLButtonElement>('.status .acts button')?.disabled).toBe(true);
    expect(words(container.querySelector('.status .state'))).toBe('Pausing…');
    expect(document.activeElement).toBe(container.querySelector('.status'));
    fake.obey();
    await tick();
    expect(words(container.querySelector('.status h1'))).toBe('Paused because you want it so.');
    expect(getAllByRole('button', { name: 'Start earning' }).length).toBeGreaterThan(0);
  });

  it('offers lengths of time, by keyboard too', async () => {
    const { fake, user, getByRole, getAllByRole, queryByRole } = await show('open');
    getByRole('button', { name: 'Choose how long to pause' }).focus();
    await user.keyboard('{ArrowDown}');
    expect(getAllByRole('menuitem').map(words)).toEqual(['For 15 minutes', 'For 1 hour', expect.stringMatching(/^Until (tomorrow )?08:00$/), 'Until I say so']);
    expect(words(document.activeElement)).toBe('For 15 minutes');
    await user.keyboard('{ArrowDown}{End}{ArrowDown}{ArrowUp}{Escape}');
    expect(queryByRole('menu')).toBeNull();
    expect(document.activeElement).toBe(getByRole('button', { name: 'Choose how long to pause' }));
    await user.keyboard('{Enter}{Enter}');
    expect(fake.wishes).toHaveLength(1);
    const wish = fake.wishes[0] as { wish: 'pause'; until: number };
    expect(wish.until - Date.now()).toBeGreaterThan(14 * 60_000);
  });

  it('finishes first where that is wanted', async () => {
    const { fake, user, getByRole } = await show('open');
    await user.click(getByRole('button', { name: 'Finish and pause' }));
    expect(fake.wishes).toEqual([{ wish: 'finish_and_pause' }]);
    expect(getByRole('button', { name: 'Keep working' })).toBeTruthy();
  });

  it('is Alt+P, and the same keys go on', async () => {
    const { fake, user } = await show('open');
    await user.keyboard('{Alt>}pp{/Alt}');
    expect(fake.wishes).toEqual([{ wish: 'pause', until: null }]);
    fake.obey();
    await tick();
    await user.keyboard('{Alt>}P{/Alt}');
    expect(fake.wishes.at(-1)).toEqual({ wish: 'work' });
  });

  it('says it when the wish did not arrive', async () => {
    const { fake, user, container } = await show('open');
    fake.error = { code: 'request', message: 'no' };
    await user.keyboard('{Alt>}p{/Alt}');
    expect(words(container.querySelector('.status'))).toContain('That did not arrive: The app did not understand this window.');
  });
});

describe('trouble', () => {
  it('the app is gone: a plain sentence and nothing to press', async () => {
    const { container, getByRole, user, fake } = await show('gone');
    expect(words(getByRole('status'))).toBe('The app behind this window does not answer.');
    expect(words(container)).toContain('Close the window and open Chrysalis again.');
    expect(words(container)).not.toContain('channel');
    await user.keyboard('{Alt>}p{/Alt}');
    expect(fake.wishes).toEqual([]);
  });

  it('old values stay, with their age', async () => {
    const { container, fake, store } = await show('open');
    fake.error = { code: 'app_gone', message: 'x' };
    await store.refresh();
    await tick();
    expect(words(container.querySelector('.status'))).toMatch(/Last values from \d\d:\d\d:\d\d\./);
    expect(cells(container)[1]).toContain('0.612');
  });

  it('the ledger can not be read', async () => {
    const { getByRole } = await show('ledger');
    expect(words(getByRole('status'))).toBe("The ledger can't be read.");
  });

  it('work has stopped: the reason, and to try again', async () => {
    const { fake, user, container, getByRole } = await show('failed');
    expect(words(container.querySelector('.status'))).toContain('has another hash than the network serves');
    await user.click(getByRole('button', { name: 'Try again' }));
    expect(fake.wishes).toEqual([{ wish: 'work' }]);
  });
});
