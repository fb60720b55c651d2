import { within } from '@testing-library/svelte';
import { tick } from 'svelte';
import { afterEach, describe, expect, it } from 'vitest';
import { fakeJob } from '../src/ipc/fake-scenes';
import type { Job } from '../src/ipc/view';
import { type Opened, openWindow, words } from './window';

let opened: Opened | undefined;
afterEach(() => opened?.store.close());

async function show(...args: Parameters<typeof openWindow>) {
  opened = await openWindow(...args);
  await opened.user.keyboard('{Alt>}2{/Alt}');
  await opened.findByRole('table');
  await tick();
  return opened;
}

const rows = (container: Element) => [...container.querySelectorAll('tr.pick')].map(words);
const done = (over: Partial<Job> = {}) => fakeJob(Date.now(), [5_120, 4_096, 1_372, 2_112], { key: '9', started: Date.now() - 68_400, pays_nothing: false, ...over });
const one = (over: Partial<Job> = {}) => (fake: Opened['fake']) => void (fake.jobs_ = [done(over)]);

describe('the table', () => {
  it('has a caption and the running jobs first', async () => {
    const { container, getByRole } = await show('open');
    expect(getByRole('table').querySelector('caption')).toBeTruthy();
    const running = words(container.querySelector('tbody'));
    expect(running).toContain('Running now 3 questions');
    expect(running).toContain('11,264');
    expect(running).toContain('130 so far');
    expect(running).toContain('no data yet');
    expect(running).not.toMatch(/(^|\D)0(\D|$)/);
  });

  it('gives each amount how far it has come', async () => {
    const { container } = await show('open', one());
    expect(rows(container)[0]).toMatch(/68\.4 s .*9,216 4,096 cached 3,484 2,112 thinking Done 0\.000601 counted$/);
  });

  it('shows nothing for nothing, with the reason', async () => {
    const { container } = await show('open', one({ result: { result: 'failed', code: -7 }, earned: { nanoton: '0', kind: 'measured' } }));
    expect(rows(container)[0]).toContain('Failed code −7');
    expect(rows(container)[0]).toContain('nothing');
  });

  it('never shows practice as money or as paid', async () => {
    const { container, user } = await show('practice', one({ pays_nothing: true, earned: { nanoton: '601218', kind: 'paid' }, signed_at: Date.now() }));
    await user.click(container.querySelector('.open-job')!);
    expect(rows(container)[0]).toContain('pays nothing');
    expect(container.querySelector('tr.pick .kind')?.classList.contains('signed')).toBe(true);
    expect(words(container.querySelector('main')).replace('Earned, TON', '')).not.toMatch(/0\.000601|0\.018|\bTON\b|on the chain/);
    expect(words(container.querySelector('#priced'))).toContain('Paid never, pays nothing');
    expect(words(container.querySelector('#priced'))).toContain('Signed in practice');
    expect(container.querySelectorAll('.kind.paid')).toHaveLength(0);
  });

  it('says what will stand here while there is nothing', async () => {
    const { container } = await show('empty');
    expect(words(container.querySelector('tr.empty'))).toMatch(/^No jobs yet\./);
    expect(words(container.querySelector('tbody'))).toContain('nothing runs');
  });

  it('follows when the app says that jobs changed', async () => {
    const { container, fake, findByText } = await show('open');
    fake.jobs_ = [done({ key: '10', model: 'Brand-New-1B' }), ...fake.jobs_];
    fake.say({ event: 'jobs_changed' });
    await findByText('Brand-New-1B');
    expect(rows(container)).toHaveLength(51);
  });

  it('shows older jobs when asked', async () => {
    const { container, user, getByRole, queryByRole } = await show('open');
    await user.click(getByRole('button', { name: 'Show older jobs' }));
    expect(rows(container)).toHaveLength(100);
    await user.click(getByRole('button', { name: 'Show older jobs' }));
    expect(rows(container)).toHaveLength(130);
    expect(queryByRole('button', { name: 'Show older jobs' })).toBeNull();
  });

  it('filters by result and day', async () => {
    const { container, user, getByLabelText, fake } = await show('open');
    await user.selectOptions(getByLabelText('Result'), 'Not answered');
    expect(rows(container).every((row) => /Failed|Refused/.test(row))).toBe(true);
    await user.selectOptions(getByLabelText('Day'), 'Today');
    expect(fake.queries.at(-1)).toMatchObject({ answered: false, since: expect.stringMatching(/^\d+$/) });
    fake.jobs_ = [];
    await user.selectOptions(getByLabelText('Day'), 'All days');
    expect(words(container.querySelector('tr.empty'))).toBe('No job fits this filter.');
  });

  it('says plainly that the ledger can not be read, and tries again', async () => {
    const { container, user, getByRole, fake } = await show('ledger');
    expect(words(container.querySelector('.notice'))).toContain("The ledger can't be read.");
    expect(words(container)).not.toContain('malformed');
    fake.error = null;
    await user.click(getByRole('button', { name: 'Try again' }));
    expect(container.querySelector('.notice')).toBeNull();
    expect(rows(container).length).toBeGreaterThan(0);
  });
});

describe('How this was priced', () => {
  it('multiplies tokens, weights and pay', async () => {
    const { container, user, getByRole } = await show('open', one());
    await user.click(container.querySelector('.open-job')!);
    const panel = getByRole('region', { name: 'How this was priced' });
    const table = within(panel).getByRole('table');
    expect([...table.querySelectorAll('tr')].slice(1).map(words)).toEqual([
      'New input 5,120 × 1 5,120',
      'Cached 4,096 × 0.1 409',
      'Answer 1,372 × 8 10,976',
      'Thinking 2,112 × 8 16,896',
      'Counted tokens 33,401',
      'Pay per million × 0.018 TON',
      'Earned 0.000601 TON',
    ]);
    expect(words(panel)).toContain('Signed by proxy not yet');
    expect(words(panel)).toContain('Paid with next payout');
  });

  it('shows how far the money has come', async () => {
    const { container, user } = await show('open', one({ earned: { nanoton: '601218', kind: 'paid' }, signed_at: Date.now() }));
    await user.click(container.querySelector('.open-job')!);
    const panel = container.querySelector('#priced');
    expect(words(panel)).toMatch(/Signed by proxy \d\d:\d\d:\d\d Paid on the chain/);
    expect(panel?.querySelectorAll('.facts .kind.paid')).toHaveLength(1);
  });

  it('does not invent weights that were not kept', async () => {
    const gone = { count: 12, weight: null, counted: 12 };
    const { container, user } = await show('open', one({ prompt: gone }));
    await user.click(container.querySelector('.open-job')!);
    expect(words(container.querySelector('#priced'))).toContain('New input 12 not kept 12');
  });

  it('works from the keyboard: rows, Enter, Esc', async () => {
    const { container, user, getByRole } = await show('open');
    const buttons = container.querySelectorAll<HTMLButtonElement>('.open-job');
    buttons[0]!.focus();
    await user.keyboard('{ArrowDown}{ArrowDown}{ArrowUp}{Enter}');
    expect(buttons[1]!.getAttribute('aria-expanded')).toBe('true');
    expect(document.activeElement).toBe(getByRole('heading', { name: 'How this was priced' }));
    await user.keyboard('{Tab}');
    expect(document.activeElement).toBe(getByRole('button', { name: 'Close' }));
    await user.keyboard('{Enter}');
    expect(container.querySelector('#priced')).toBeNull();
    expect(document.activeElement).toBe(buttons[1]);
    await user.keyboard('{Enter}{Escape}');
    expect(container.querySelector('#priced')).toBeNull();
    expect(document.activeElement).toBe(buttons[1]);
    await user.keyboard('{End}');
    expect(document.activeElement).toBe(buttons[49]);
    await user.keyboard('{Home}');
    expect(document.activeElement).toBe(buttons[0]);
  });

  it('takes the focus with every job that is opened, and leaves it alone when the list is read anew', async () => {
    const { container, user, getByRole, store } = await show('open');
    const buttons = container.querySelectorAll<HTMLButtonElement>('.open-job');
    const title = () => getByRole('heading', { name: 'How this was priced' });
    for (const at of [0, 3, 3]) {
      buttons[at]!.focus();
      await user.keyboard('{Enter}');
      expect(document.activeElement).toBe(title());
    }
    getByRole('button', { name: 'Close' }).focus();
    await store.jobs.refresh();
    await tick();
    expect(document.activeElement).toBe(getByRole('button', { name: 'Close' }));
    await user.keyboard('{Escape}');
    expect(document.activeElement).toBe(buttons[3]);
  });

  it('gives the focus to the page where its row is gone', async () => {
    const { container, user, getByRole, fake, store } = await show('open');
    await user.click(container.querySelector('.open-job')!);
    fake.jobs_ = fake.jobs_.slice(60);
    await store.jobs.refresh();
    await tick();
    expect(container.querySelector('#priced')).toBeNull();
    await user.keyboard('{Escape}');
    expect(document.activeElement).toBe(getByRole('main'));
  });
});

describe('getting around', () => {
  it('changes pages with Alt+1 and Alt+2, tells the title, and moves the focus to the page', async () => {
    const { user, getByRole, container } = await show('open');
    expect(document.title).toBe('Jobs · Chrysalis');
    expect(document.activeElement).toBe(getByRole('main'));
    expect(container.querySelector('[aria-current=page]')?.textContent).toContain('Jobs');
    await user.keyboard('{Alt>}1{/Alt}');
    expect(document.title).toBe('Home · Chrysalis');
  });

  it('goes to the filter with Alt+F', async () => {
    const { user, getByLabelText } = await show('open');
    await user.keyboard('{Alt>}f{/Alt}');
    expect(document.activeElement).toBe(getByLabelText('Result'));
  });

  it('does nothing by a single letter, digit or sign, wherever the focus is', async () => {
    const { user, getByLabelText, getByRole, store, fake } = await show('open');
    for (const place of [getByRole('main'), getByLabelText('Result'), getByLabelText('Day')]) {
      place.focus();
      // Shift makes no other key of a letter, and AltGr (Ctrl and Alt) writes signs.
      await user.keyboard('p1/f{Shift>}P1/F{/Shift}{Control>}{Alt>}p1f{/Alt}{/Control}');
      expect(store.page).toBe('jobs');
      expect(fake.wishes).toEqual([]);
      expect(document.activeElement).toBe(place);
    }
  });

  it('names its keys to those who can not see them', async () => {
    const { container } = await show('open');
    const keys = [...container.querySelectorAll('[aria-keyshortcuts]')].map((it) => it.getAttribute('aria-keyshortcuts'));
    expect(new Set(keys)).toEqual(new Set(['Alt+P', 'Alt+1', 'Alt+2', 'Alt+3', 'Alt+4', 'Alt+5', 'Alt+F']));
  });

  it('shows only the pages there are', async () => {
    const { container } = await show('open');
    expect([...container.querySelectorAll('.nav a')].map(words)).toEqual(['Home', 'Jobs 3', 'Earnings', 'Wallet', 'Trust']);
  });
});
