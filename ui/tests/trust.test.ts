import { tick } from 'svelte';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ALL_GRADES, gradeWords } from '../src/format/trust';
import { type Opened, openWindow, words } from './window';

let opened: Opened | undefined;
afterEach(() => {
  opened?.store.close();
  opened = undefined;
  vi.useRealTimers();
});

const settled = async () => {
  for (let i = 0; i < 8; i += 1) await Promise.resolve();
  await tick();
};

async function show(...args: Parameters<typeof openWindow>) {
  opened?.store.close();
  opened?.unmount();
  opened = await openWindow(...args);
  await opened.user.keyboard('{Alt>}5{/Alt}');
  await settled();
  return opened;
}

const panel = (container: Element, name: string) => container.querySelector(`[aria-labelledby="${name}"]`);
const lines = (element: Element | null) => [...(element?.querySelectorAll('.facts > li') ?? [])].map(words);
const marked = (element: Element | null, mark: string) => [...(element?.querySelectorAll(`.facts > li.${mark} .k`) ?? [])].map(words);

describe('the page Trust', () => {
  it('has four questions as headings', async () => {
    const { container, getByRole } = await show('open');
    expect(getByRole('heading', { level: 1, name: 'Trust' })).toBeTruthy();
    expect([...container.querySelectorAll('main h2')].map(words)).toEqual(['What runs here?', 'Who accepts it?', 'What protects the questions?', 'What leaves this PC?']);
  });

  it('shows what was measured beside what should be and who says so', async () => {
    const { container } = await show('trust_refused');
    const runs = panel(container, 'what-runs');
    expect(words(runs!.querySelector('.tag'))).toBe('2 of 3 as expected');
    expect(marked(runs, 'bad')).toEqual(['Worker 0.1.0']);
    expect(lines(runs)[1]).toMatch(/^Worker 0\.1\.0 not as expected Measured [\da-f]{4} [\da-f]{4} … [\da-f]{4} by the app.* Expected [\da-f]{4} [\da-f]{4} … [\da-f]{4} Who says so the log of releases/);
    expect(words(container)).toContain('Something that runs here is not what it should be.');
  });

  it('does not call a file as expected that nobody has published', async () => {
    const { container } = await show('practice');
    const runs = panel(container, 'what-runs');
    expect(words(runs!.querySelector('.tag'))).toBe('0 of 3 as expected');
    expect(lines(runs)[0]).toContain('not compared');
    expect(lines(runs)[0]).toContain('nobody: there is no log of releases yet');
    // Practice takes the model as it lies here: nothing to compare it with.
    expect(lines(runs)[2]).toContain('not compared');
    const paused = await show('paused');
    expect(lines(panel(paused.container, 'what-runs'))[2]).toBe('Model not measured yet Who says so not asked yet');
  });

  it('says of each network the answer and the one thing missing', async () => {
    const { container } = await show('open');
    expect(lines(panel(container, 'who-accepts')).slice(0, 5)).toEqual([
      'Practice, on this PC yes',
      'An open network that asks for no proof yes',
      "An open network that asks for a known computer no This PC has to be registered once: chrysalis identity enrol, which shows the security chip's lifelong key to the registrar you name.",
      'An open network that asks for a certified chip and Secure Boot not known It asks for a security chip whose maker vouches for it, and whether the one here has such a certificate is not known.',
      "Cocoon's main network no It takes only machines with Intel TDX and NVIDIA cards of the H100 class. This PC shows neither. There is nothing to switch on.",
    ]);
  });

  it('says which proxy refused this PC, which one this PC refused, and why', async () => {
    const { container } = await show('trust_refused');
    const all = lines(panel(container, 'who-accepts')).slice(5);
    expect(all[0]).toMatch(/^198\.51\.100\.7:30080 accepted as: Known computer, chip without a certificate$/);
    expect(all[1]).toMatch(/^203\.0\.113\.40:30080 refused this computer proves the grade “Known computer, chip without a certificate”, which is not accepted here \(since .*\d\d:\d\d\)$/);
    expect(all[2]).toMatch(/^192\.0\.2\.19:30080 not trusted here the proof was made for another question/);
    expect(words(container)).toContain('A proxy does not take this PC.');
  });

  it('shows an open wall as a red line, with what the system said', async () => {
    const { container } = await show('trust_windows');
    expect(marked(panel(container, 'what-protects'), 'bad')).toEqual(['Reaching the network', 'Reading your files']);
    expect(words(panel(container, 'what-protects'))).toContain("Windows doesn't block its network or its reading of your files");
    expect(words(container)).toContain('The box around the worker is not closed.');
    const closed = await show('open');
    expect(marked(panel(closed.container, 'what-protects'), 'bad')).toEqual([]);
    expect(words(closed.container)).not.toContain('is not closed');
  });

  it('asks Windows for the rule when it would help, and takes it back', async () => {
    const { container, fake, getByRole, queryByRole, user } = await show('trust_windows');
    await user.click(getByRole('button', { name: 'Ask Windows to block its network' }));
    await settled();
    expect(fake.trusted.asked).toContain('rule add');
    expect(marked(panel(container, 'what-protects'), 'bad')).toEqual(['Reading your files']);
    expect(words(panel(container, 'what-protects'))).toContain('A firewall rule blocks what the worker sends to other computers');
    await user.click(getByRole('button', { name: 'Remove the rule' }));
    await settled();
    expect(fake.trusted.asked).toContain('rule remove');
    expect(queryByRole('button', { name: 'Remove the rule' })).toBeNull();
    for (const scene of ['open', 'trust_container'] as const) {
      const other = await show(scene);
      expect(other.queryByRole('button', { name: /rule|block its network/ })).toBeNull();
    }
  });

  it('says why there is no rule when the answer was no', async () => {
    const { container, fake, getByRole, user } = await show('trust_windows');
    fake.trusted.declined = 'Windows asked for an administrator, and the answer was no';
    await user.click(getByRole('button', { name: 'Ask Windows to block its network' }));
    await settled();
    expect(words(container.querySelector('[role=alert]'))).toBe('It was not done: Windows asked for an administrator, and the answer was no.');
    expect(getByRole('button', { name: 'Ask Windows to block its network' })).toBeTruthy();
  });

  it('has no tick where nothing is verified, and does not say that nothing is a fact', async () => {
    const icon = (container: Element) => container.querySelector('.notice:not(.attention) svg')!.innerHTML;
    const open = await show('open');
    expect(words(open.container.querySelector('.notice:not(.attention)'))).toMatch(/^Not verified\. This computer says what it runs, and nobody checked it\./);
    const plain = icon(open.container);
    const known = await show('trust_known');
    expect(icon(known.container)).not.toBe(plain);
  });

  it('knows nothing where nothing is known, and claims the least', async () => {
    const { container, fake } = await show('unknown');
    expect(fake.trusted.asked).toContain('check');
    expect(words(container)).toContain('No evidence was made yet, so this counts.');
    expect(container.querySelector('[data-grade]')!.getAttribute('data-grade')).toBe('self-claim');
    expect(words(container)).toContain('No worker runs whose box could be read.');
    expect(words(panel(container, 'who-accepts'))).toContain('None is connected.');
    expect(words(panel(container, 'what-leaves'))).toContain('Nobody was talked to since');
  });

  it('tells what leaves from what stays, and what is not counted from nothing', async () => {
    const open = await show('open');
    expect(words(panel(open.container, 'what-leaves'))).toContain("198.51.100.7 questions and answers, and evidence where it asks for some: what the chip signed, the registrar's statement, the boot log; through the worker's TLS 4.1 MB out, 1.1 MB in");
    expect(words(panel(open.container, 'what-leaves'))).toContain("toncenter.com balances, payments, the network's rules bytes not counted");
    expect(words(panel(open.container, 'what-leaves'))).not.toContain('lifelong key');
    const known = await show('trust_known');
    expect(words(panel(known.container, 'what-leaves'))).toMatch(/registrar\.example is shown the security chip's lifelong key and says which computer this is , last .*\d\d:\d\d bytes not counted/);
    const practice = await show('practice');
    expect(words(panel(practice.container, 'what-leaves'))).toContain('stays on this PC');
  });

  it('explains everything anew to who is new', async () => {
    const { container, getByRole, user } = await show('open');
    expect(container.querySelectorAll('.new')).toHaveLength(0);
    await user.click(getByRole('switch', { name: 'Explain like I am new' }));
    expect(container.querySelectorAll('.new')).toHaveLength(5);
  });

  it('looks again when it is asked to, once at a time', async () => {
    const { fake, getByRole, user } = await show('open');
    expect(fake.trusted.asked).not.toContain('check');
    let come: (() => void) | undefined;
    const before = fake.trusted.calls.check;
    Object.assign(fake.trusted.calls, { check: () => new Promise<void>((resolve) => (come = resolve)).then(before) });
    await user.click(getByRole('button', { name: 'Check again' }));
    expect((getByRole('button', { name: 'Checking…' }) as HTMLButtonElement).disabled).toBe(true);
    come?.();
    await settled();
    expect(fake.trusted.asked.filter((name) => name === 'check')).toHaveLength(1);
    expect(getByRole('button', { name: 'Check again' })).toBeTruthy();
  });

  it('copies the proof as the app made it', async () => {
    const { fake, getByRole, user } = await show('trust_known');
    await user.click(getByRole('button', { name: 'Copy proof' }));
    const proof = JSON.parse(await navigator.clipboard.readText()) as { claimed: string };
    expect(proof.claimed).toBe('known-machine');
    expect(fake.trusted.asked).toContain('proof');
  });

  it('keeps what it had, with its age, when the app does not answer', async () => {
    const { container, fake, store } = await show('open');
    fake.error = { code: 'app_gone', message: 'x' };
    await store.trust.refresh();
    await tick();
    expect(words(container.querySelector('.notice.attention'))).toMatch(/does not answer\. Last values from \d\d:\d\d:\d\d\./);
    expect(lines(panel(container, 'what-runs'))).toHaveLength(3);
  });

  it('says in the words of the grade who can read, the operator of the proxy included', async () => {
    for (const grade of ALL_GRADES) {
      const { container } = await show('open', (fake) => {
        fake.trusted.trust_ = { ...fake.trusted.trust_, proved: { grade, at: Date.now() } };
      });
      const protects = words(panel(container, 'what-protects'));
      const said = gradeWords(grade);
      for (const sentence of [said.title, said.proves, said.not, said.read]) expect(protects).toContain(sentence);
      expect(said.read).toContain("proxy's operator");
    }
  });
});
