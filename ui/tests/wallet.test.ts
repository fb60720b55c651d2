import { tick } from 'svelte';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PASSWORD } from '../src/ipc/fake-money';
import { FRIEND, LOOKALIKE, OWN, PRACTICE, WORDS } from '../src/ipc/fake-money-scenes';
import { type Opened, openWindow, words } from './window';

let opened: Opened | undefined;
afterEach(() => opened?.store.close());

async function show(...args: Parameters<typeof openWindow>) {
  opened = await openWindow(...args);
  await opened.user.keyboard('{Alt>}4{/Alt}');
  await settled();
  return opened;
}

/** Answers of the fake come in a few turns of the event loop. */
const settled = async () => {
  for (let i = 0; i < 4; i += 1) await Promise.resolve();
  await tick();
};
const dialog = () => document.querySelector('dialog');
const asked = (it: Opened, name: string) => it.fake.money.asked.filter(([what]) => what === name).map(([, ...rest]) => rest);

describe('the page', () => {
  it('shows what is there, with its kind, and what is kept for fees', async () => {
    const { getByRole } = await show('open');
    const money = words(getByRole('region', { name: 'Your money' }));
    expect(money).toContain('8.033 TON on the chain');
    expect(money).toContain("0.5 TON of it stay for the worker's fees.");
  });

  it('says of practice money that it is worth nothing, and calls it by another name', async () => {
    const { container } = await show('practice');
    const main = words(container.querySelector('main'));
    expect(main).toContain('It is worth nothing.');
    expect(main).toContain('8.033 practice TON');
    expect(main.replaceAll('practice TON', '')).not.toMatch(/\bTON\b/);
  });

  it('never shows what is unknown as 0', async () => {
    const { container } = await show('wallet_key_gone');
    const main = words(container.querySelector('main'));
    expect(main).toContain('no data yet');
    expect(main).toContain("The chain can't be asked. Reason: toncenter.com: the time was up.");
    expect(words(container.querySelector('.bal'))).not.toMatch(/\b0\b/);
  });

  it('heals with the next event after the app was gone', async () => {
    const { container, fake } = await show('gone');
    expect(words(container.querySelector('main'))).toContain('The app behind this window does not answer.');
    fake.error = null;
    fake.say({ event: 'wallet', data: fake.money.wallet_ });
    await tick();
    expect(words(container.querySelector('main'))).not.toContain('does not answer. Last');
    expect(words(container.querySelector('.bal'))).toContain('8.033');
  });

  it('takes no unlooked-at state for a new owner', async () => {
    const { container, queryByRole } = await show('unknown');
    expect(words(container.querySelector('main'))).toContain('Nothing is known about the wallet yet');
    expect(queryByRole('button', { name: 'Make a new wallet' })).toBeNull();
  });

  it('keeps a wallet whose key is gone, and offers no new one', async () => {
    const it = await show('wallet_key_gone');
    expect(words(it.container.querySelector('main'))).toContain('Windows Credential Manager no longer has the key of your wallet');
    expect(words(it.container.querySelector('main'))).toContain('Nothing was deleted, and no new wallet is made by itself.');
    expect(it.queryByRole('button', { name: 'Make a new wallet' })).toBeNull();
    expect(it.queryByRole('button', { name: 'Send' })).toBeNull();
    await it.user.click(it.getByRole('button', { name: 'Move the file out of the way' }));
    expect(asked(it, 'setAside')).toEqual([]);
    await it.user.click(it.getByRole('button', { name: 'Move the file out of the way' }));
    await settled();
    expect(asked(it, 'setAside')).toHaveLength(1);
    expect(words(it.container.querySelector('main'))).toContain('wallet.aside-1');
  });

  it('shows a change of the payout address that waits, and keeps the present one when asked', async () => {
    const it = await show('wallet_long');
    expect(words(it.container.querySelector('main'))).toMatch(/From tomorrow \d\d:\d\d on payouts go to UQA7pL…SkWq1B\. If that was not you/);
    await it.user.click(it.getByRole('button', { name: 'Keep the present address' }));
    expect(asked(it, 'keepPayoutAddress')).toHaveLength(1);
  });

  it('reminds of the words with what would be lost, and lets that rest', async () => {
    const it = await show('wallet_long');
    expect(words(it.container.querySelector('main'))).toContain('123,456,789.012 TON are in this wallet, and its words are not written down.');
    it.fake.money.refusal = { refusal: 'failed', why: 'disk full' };
    await it.user.click(it.getByRole('button', { name: 'Not now' }));
    await settled();
    expect(words(it.getByRole('alert'))).toBe('It failed: disk full.');
  });

  it('names the fee wallet apart from the money on a watched address', async () => {
    const it = await show('wallet_watch');
    const main = words(it.container.querySelector('main'));
    expect(main).toContain('Its key is not on this PC, so nothing can be sent from here.');
    expect(main).toContain("Worker's fee wallet on the chain 0.870 TON Pays for fetching payouts. It is separate from your money. 0.052118 TON spent so far.");
    expect(it.queryByRole('button', { name: 'Send' })).toBeNull();
    await it.user.click(it.getByRole('button', { name: 'Take the rest back' }));
    expect(asked(it, 'takeRestBack')).toHaveLength(1);
    await settled();
    // It is reviewed, and nothing moves before the word is given.
    expect(words(dialog())).toContain('0.867 TON');
    expect(asked(it, 'confirm')).toEqual([]);
    await it.user.click(it.getByRole('button', { name: /^Take 0\.867 .*back$/ }));
    await settled();
    expect(asked(it, 'confirm')).toEqual([['d2']]);
  });
});

describe('history', () => {
  const rows = (container: Element) => [...container.querySelectorAll('.moves tbody tr')].map(words);

  it('gives every movement a plain reason, its direction and its fee', async () => {
    const { container } = await show('open');
    const [payout, rest, fee, sent, failed] = rows(container);
    expect(payout).toMatch(/^Payout from the proxy .*\+3\.612/);
    expect(rest).toMatch(/^Left over came back .*\+0\.458/);
    expect(fee).toMatch(/^Sent along to fetch a payout; most of it comes back .*−0\.500 fee 0\.0021084/);
    expect(sent).toMatch(/^Sent to UQDyib…M52FL0, “rent” .*−10\.000/);
    expect(failed).toContain('a part of it failed: the recipient did not take it.');
  });

  it('goes on to older movements, and follows new ones', async () => {
    const { container, user, getByRole, fake, findByText } = await show('open');
    await user.click(getByRole('button', { name: 'Show older movements' }));
    await settled();
    expect(rows(container)).toHaveLength(100);
    fake.money.moves_ = [{ ...fake.money.moves_[6]!, key: '2000', memo: 'brand new' }, ...fake.money.moves_];
    fake.say({ event: 'wallet_history_changed' });
    await findByText(/brand new/);
    expect(rows(container)).toHaveLength(101);
  });

  it('says what will stand there', async () => {
    const { container } = await show('empty');
    expect(rows(container)).toEqual(['Nothing yet. Payouts and what you send will stand here.']);
  });

  it('opens the explorer at a transaction, and has none in practice', async () => {
    const it = await show('open');
    await it.user.click(it.getAllByRole('button', { name: /^Show transaction [0-9a-f]{6}…[0-9a-f]{6} on tonviewer$/ })[0]!);
    expect(asked(it, 'show')[0]?.[0]).toMatchObject({ show: 'transaction', hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    it.store.close();
    it.unmount();
    const home = await show('practice');
    expect(home.queryByRole('button', { name: /tonviewer/ })).toBeNull();
  });
});

describe('sending', () => {
  async function begin(scene: Parameters<typeof show>[0], to: string) {
    const it = await show(scene);
    await it.user.click(it.getByRole('button', { name: 'Send' }));
    await it.user.click(it.getByLabelText('Send to'));
    await it.user.paste(to);
    await it.user.click(it.getByRole('button', { name: 'Continue' }));
    await settled();
    return it;
  }
  const go = (it: Opened) => it.getByRole('button', { name: 'Continue' }) as HTMLButtonElement;

  it.each([
    ['nonsense', 'This is no address.'],
    [`XQ${FRIEND.slice(2)}`, 'A character is wrong or missing.'],
    [`0:${'8'.repeat(64)}`, 'This form has no checksum'],
    [PRACTICE.plain, 'This address is marked for the test network.'],
    [OWN.plain, "This is the wallet's own address."],
  ])('stops at %s', async (to, why) => {
    const it = await begin('open', to);
    expect(words(dialog())).toContain(why);
    expect(go(it).disabled).toBe(true);
    await it.user.click(it.getByLabelText('Send to'));
    await it.user.keyboard('{Enter}');
    expect(it.queryByLabelText('Amount')).toBeNull();
    expect(asked(it, 'prepare')).toEqual([]);
  });

  it('stops in practice at an address of the real network', async () => {
    const it = await begin('practice', FRIEND);
    expect(words(dialog())).toContain('This address is one of TON itself.');
    expect(go(it).disabled).toBe(true);
  });

  it('goes on to an address that looks like another only once it was compared', async () => {
    const it = await begin('open', LOOKALIKE);
    expect(words(dialog())).toContain('It looks like UQDyib…M52FL0, where you sent before, but is another.');
    expect(go(it).disabled).toBe(true);
    await it.user.click(it.getByLabelText(/I have compared/));
    await it.user.click(go(it));
    expect(it.getByLabelText('Amount')).toBeTruthy();
  });

  it('asks an exchange for its comment', async () => {
    const it = await begin('open', 'UQExchangeNJwwW94zrdABK4bxTrWseZiaszywJH3Iu2OM52');
    await it.user.click(it.getByLabelText(/I have compared/));
    await it.user.click(go(it));
    await it.user.type(it.getByLabelText('Amount'), '1');
    const review = it.getByRole('button', { name: 'Review' }) as HTMLButtonElement;
    expect(review.disabled).toBe(true);
    await it.user.type(it.getByLabelText('Comment for the recipient'), '4711');
    expect(review.disabled).toBe(false);
    await it.user.click(review);
    await settled();
    expect(words(dialog())).toContain('Comment 4711');
    expect(words(dialog())).not.toContain('Is this an exchange?');
  });

  it.each(['', 'abc', '1,5', '-1', '0'])('refuses the amount %j', async (amount) => {
    const it = await begin('open', FRIEND);
    if (amount) await it.user.type(it.getByLabelText('Amount'), amount);
    await it.user.type(it.getByLabelText('Comment for the recipient'), '{Enter}');
    await settled();
    expect(words(dialog())).toContain('That is no amount.');
    expect(asked(it, 'prepare')).toEqual([]);
  });

  it('says what can be sent where that is less', async () => {
    const it = await begin('open', FRIEND);
    await it.user.type(it.getByLabelText('Amount'), '8{Enter}');
    await settled();
    expect(words(dialog())).toContain("That would leave too little for the worker's fees. At most 7.527198705 TON can be sent, or everything.");
    await it.user.click(it.getByLabelText(/Send everything/));
    await it.user.click(it.getByRole('button', { name: 'Review' }));
    await settled();
    expect(words(dialog())).toContain('Less than 0.5 TON is left');
    expect(asked(it, 'prepare').at(-1)).toEqual([{ to: FRIEND, nanoton: '0', memo: '', everything: true }]);
  });

  it('shows amount, whole address, fee and rest before the word is given, and follows the transfer to its end', async () => {
    const it = await begin('open', FRIEND);
    await it.user.type(it.getByLabelText('Amount'), '5{Enter}');
    await settled();
    const said = words(dialog());
    expect(said).toContain('You send 5 TON');
    expect(said).toContain(FRIEND);
    expect(said).toContain('You sent there before');
    expect(said).toContain('Network fee about 0.0063 TON estimate');
    expect(said).toContain('Left in this wallet about 3.027 TON estimate');
    expect(said).toContain('Is this an exchange? Then it may need a comment.');
    expect(asked(it, 'confirm')).toEqual([]);
    await it.user.click(it.getByRole('button', { name: 'Send 5 TON' }));
    await settled();
    expect(asked(it, 'confirm')).toEqual([['d1']]);
    expect(words(dialog())).toContain('Sending 5 TON to UQDyib…M52FL0. Written down and being tried; nothing is signed yet.');
    it.fake.say({ event: 'wallet', data: { ...it.fake.money.wallet_, in_flight: { ...it.fake.money.wallet_.in_flight!, stage: 'sent' } } });
    await tick();
    expect(words(dialog())).toContain('Signed and sent.');
    it.fake.say({ event: 'wallet', data: { ...it.fake.money.wallet_, in_flight: null, landed: { id: '12', errand: 'send', outcome: { outcome: 'done' } } } });
    await tick();
    expect(words(dialog())).toContain('Done: everything that was wanted happened.');
  });

  it('tries anew what was tried too long ago', async () => {
    const it = await begin('open', FRIEND);
    await it.user.type(it.getByLabelText('Amount'), '5{Enter}');
    await settled();
    vi.useFakeTimers({ now: Date.now() + 120_000, toFake: ['Date'] });
    try {
      await vi.waitFor(() => expect(words(dialog())).toContain('This was tried too long ago.'), 3_000);
      expect(it.queryByRole('button', { name: 'Send 5 TON' })).toBeNull();
      expect(it.getByRole('button', { name: 'Try it anew' })).toBeTruthy();
    } finally {
      vi.useRealTimers();
    }
  });

  it('unlocks with the password, which is asked again after a wrong one', async () => {
    const it = await begin('wallet_locked', FRIEND);
    await it.user.type(it.getByLabelText('Amount'), '5{Enter}');
    await settled();
    const field = () => it.getByLabelText('Password') as HTMLInputElement;
    expect(field().type).toBe('password');
    await it.user.type(field(), 'wrong{Enter}');
    await settled();
    expect(words(dialog())).toContain('the password is wrong, or the file is damaged.');
    expect(field().value).toBe('');
    await it.user.type(field(), `${PASSWORD}{Enter}`);
    await settled();
    expect(asked(it, 'confirm')).toEqual([['d1']]);
    expect(JSON.stringify(it.fake.money.asked)).not.toContain(PASSWORD);
  });

  it('begins no second transfer while one is under way', async () => {
    const { getByRole, container } = await show('wallet_flight');
    expect((getByRole('button', { name: 'Send' }) as HTMLButtonElement).disabled).toBe(true);
    expect(words(container.querySelector('main'))).toContain('Sending 5 TON to UQDyib…M52FL0.');
  });
});

describe('receiving', () => {
  it('shows the whole address, its picture and its other forms', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Receive' }));
    await settled();
    expect(words(dialog())).toContain(OWN.plain);
    expect(words(dialog())).toContain(OWN.bounceable);
    expect(words(dialog())).toContain(OWN.raw);
    expect(it.getByRole('img', { name: 'QR code of your address' }).querySelector('path')?.getAttribute('d')).toMatch(/^M\d+ \d+h1v1h-1z/);
    await it.user.keyboard('{Escape}');
    await settled();
    expect(dialog()).toBeNull();
    expect(document.activeElement).toBe(it.getByRole('button', { name: 'Receive' }));
  });

  it('warns that nobody may send real money to practice', async () => {
    const it = await show('practice');
    await it.user.click(it.getByRole('button', { name: 'Receive' }));
    expect(words(dialog())).toContain('This is a practice address. Real TON sent here would be out of reach.');
  });

  it('copies the address', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Copy address' }));
    await it.findByRole('button', { name: 'Copied' });
    expect(await navigator.clipboard.readText()).toBe(OWN.plain);
  });

  it('says it where the clipboard is kept from the page', async () => {
    const it = await show('open');
    vi.spyOn(navigator.clipboard, 'writeText').mockRejectedValue(new Error('not allowed'));
    await it.user.click(it.getByRole('button', { name: 'Copy address' }));
    await it.findByRole('button', { name: /^Not copied/ });
    vi.restoreAllMocks();
    expect(document.activeElement).toBe(it.getByRole('button', { name: /^Not copied/ }));
  });
});

describe('the words', () => {
  const reveal = async (it: Opened) => {
    await it.user.click(it.getByRole('button', { name: /^(Show the words|Write the words down)$/ }));
    await it.user.click([...dialog()!.querySelectorAll('footer button')].at(-1)!);
    await settled();
  };

  it('appear only after a click, and are gone when the screen is left', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Show the words' }));
    expect(words(dialog())).not.toContain('ribbon');
    expect(asked(it, 'reveal')).toHaveLength(0);
    await it.user.click([...dialog()!.querySelectorAll('footer button')].at(-1)!);
    await settled();
    expect([...dialog()!.querySelectorAll('.words li')].map(words)).toEqual(WORDS.map((word, i) => `${i + 1} ${word}`));
    expect(dialog()!.querySelector('.words')?.closest('[contenteditable], textarea, input')).toBeNull();
    await it.user.click(it.getByRole('button', { name: 'I have written them down' }));
    expect(document.body.textContent).not.toContain('ribbon');
    await it.user.keyboard('{Escape}');
    await settled();
    expect(document.body.textContent).not.toContain('ribbon');
    expect(JSON.stringify(it.store.wallet.slice)).not.toContain('ribbon');
  });

  it('count as written down once three of them were typed', async () => {
    const it = await show('practice');
    await reveal(it);
    await it.user.click(it.getByRole('button', { name: 'I have written them down' }));
    await it.user.type(it.getByLabelText('Word 4'), 'maple');
    await it.user.type(it.getByLabelText('Word 11'), 'wrong');
    await it.user.type(it.getByLabelText('Word 20'), 'canyon{Enter}');
    await settled();
    expect(words(dialog())).toContain('Those are not the words.');
    expect((it.getByLabelText('Word 4') as HTMLInputElement).value).toBe('');
    await it.user.type(it.getByLabelText('Word 4'), ' Maple ');
    await it.user.type(it.getByLabelText('Word 11'), 'crater');
    await it.user.type(it.getByLabelText('Word 20'), 'canyon{Enter}');
    await settled();
    expect(asked(it, 'quiz')).toEqual([[false], [true]]);
    expect(words(dialog())).toContain('They count as written down.');
    await it.user.click([...dialog()!.querySelectorAll('footer button')].at(-1)!);
    await settled();
    expect(words(it.container.querySelector('.safety'))).toContain('Recovery words written down');
  });

  it('vanish when the window is turned away from', async () => {
    const it = await show('open');
    await reveal(it);
    expect(document.body.textContent).toContain('ribbon');
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
    document.dispatchEvent(new Event('visibilitychange'));
    await tick();
    vi.restoreAllMocks();
    expect(document.body.textContent).not.toContain('ribbon');
  });
});

describe('a first wallet', () => {
  it('is made in the keychain where one answers', async () => {
    const it = await show('wallet_none');
    await it.user.click(it.getByRole('button', { name: 'Make a new wallet' }));
    await it.user.click([...dialog()!.querySelectorAll('footer button')].at(-1)!);
    await settled();
    expect(asked(it, 'create')).toEqual([['keychain']]);
    expect(words(dialog())).toContain('Your wallet is ready');
    expect(it.getByRole('button', { name: 'Write the words down' })).toBeTruthy();
  });

  it('is never kept in another way than was chosen by name', async () => {
    const it = await show('wallet_no_keychain');
    expect(words(it.container.querySelector('main'))).toContain('No keychain answers: the Secret Service of GNOME Keyring or KWallet.');
    await it.user.click(it.getByRole('button', { name: 'Make a new wallet' }));
    const make = [...dialog()!.querySelectorAll<HTMLButtonElement>('footer button')].at(-1)!;
    expect(dialog()!.querySelector('input:checked')).toBeNull();
    expect(make.disabled).toBe(true);
    expect((it.getByRole('radio', { name: /^GNOME Keyring No keychain/ }) as HTMLInputElement).disabled).toBe(true);
    await it.user.click(it.getByRole('radio', { name: /A file with a password/ }));
    await it.user.type(it.getByLabelText('New password'), PASSWORD);
    await it.user.type(it.getByLabelText('The same again'), 'correct hors');
    expect(words(dialog())).toContain('The two are not the same.');
    expect(make.disabled).toBe(true);
    await it.user.type(it.getByLabelText('The same again'), 'e');
    it.fake.money.refusal = { refusal: 'weak_password', least: 20 };
    await it.user.click(make);
    await settled();
    expect(words(dialog())).toContain('Take at least 20 characters.');
  });

  it('is brought back by words only after its address was seen', async () => {
    const it = await show('wallet_none');
    await it.user.click(it.getByRole('button', { name: 'Bring a wallet by its words' }));
    const field = () => it.getByLabelText('Words') as HTMLTextAreaElement;
    const read = () => it.user.click(it.getByRole('button', { name: 'Read the words' })).then(settled);
    for (const [text, why] of [
      ['ribbon candle', 'These are 2 words.'],
      [`${WORDS.slice(0, 11).join(' ')} 12`, 'Word 12 is not on the list of such words.'],
      [`wrong ${WORDS.slice(1).join(' ')}`, 'one is wrong, or two are swapped.'],
    ] as const) {
      await it.user.clear(field());
      await it.user.click(field());
      await it.user.paste(text);
      await read();
      expect(words(dialog())).toContain(why);
    }
    await it.user.clear(field());
    await it.user.click(field());
    await it.user.paste(WORDS.join('\n'));
    await read();
    expect(document.body.textContent).not.toContain('ribbon');
    expect(words(dialog())).toContain('TON wallet, W5 holds 8.033412705 TON');
    expect(words(dialog())).toContain('BIP39 wallet, W5 what it holds is not known');
    expect(words(dialog())).toContain(OWN.plain);
    const on = it.getByRole('button', { name: 'Continue' }) as HTMLButtonElement;
    expect(on.disabled).toBe(true);
    await it.user.click(it.getByRole('radio', { name: /V4 R2/ }));
    await it.user.click(on);
    await it.user.click(it.getByRole('button', { name: 'Save this wallet' }));
    await settled();
    expect(asked(it, 'save')).toEqual([['w1', 1, 'keychain']]);
    expect(dialog()).toBeNull();
    expect(asked(it, 'forget')).toEqual([]);
  });

  it('leaves no words in the app when bringing one back is given up', async () => {
    const it = await show('wallet_none');
    await it.user.click(it.getByRole('button', { name: 'Bring a wallet by its words' }));
    await it.user.click(it.getByLabelText('Words'));
    await it.user.paste(WORDS.join(' '));
    await it.user.click(it.getByRole('button', { name: 'Read the words' }));
    await settled();
    await it.user.keyboard('{Escape}');
    await settled();
    expect(asked(it, 'forget')).toHaveLength(1);
    expect(asked(it, 'save')).toEqual([]);
  });

  it('can be an address alone', async () => {
    const it = await show('wallet_none');
    await it.user.click(it.getByRole('button', { name: 'Use an address only' }));
    await it.user.click(it.getByLabelText('Address for payouts'));
    await it.user.paste(FRIEND);
    await it.user.keyboard('{Enter}');
    await settled();
    await it.user.click(it.getByRole('button', { name: 'Use this address' }));
    await settled();
    expect(asked(it, 'payTo')).toEqual([[FRIEND]]);
    expect(words(dialog())).toContain('Payouts go to this address from now on.');
  });
});

describe('what guards it', () => {
  it('changes the payout address a day later', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Change payout address' }));
    await it.user.click(it.getByLabelText('Address for payouts'));
    await it.user.paste(FRIEND);
    await it.user.click(it.getByRole('button', { name: 'Check the address' }));
    await settled();
    await it.user.click(it.getByRole('button', { name: 'Pay to this address' }));
    await settled();
    expect(words(dialog())).toMatch(/from tomorrow \d\d:\d\d on\. Until then you can keep the present one\./);
  });

  it('sets when it locks itself and how much may leave', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Lock and limit' }));
    const limit = it.getByLabelText('Daily limit') as HTMLInputElement;
    expect(limit.value).toBe('20');
    await it.user.clear(limit);
    await it.user.type(limit, '1,5');
    expect((it.getByRole('button', { name: 'Save' }) as HTMLButtonElement).disabled).toBe(true);
    await it.user.clear(limit);
    await it.user.selectOptions(it.getByLabelText('Locks itself'), 'never');
    await it.user.click(it.getByRole('button', { name: 'Save' }));
    expect(asked(it, 'rules')).toEqual([[{ locks_after_s: null, daily_limit_nanoton: null }]]);
  });

  it('is unlocked with its password and locked by a button', async () => {
    const it = await show('wallet_locked');
    await it.user.click(it.getByRole('button', { name: 'Unlock' }));
    await it.user.type(it.getByLabelText('Password'), `${PASSWORD}{Enter}`);
    await settled();
    expect(dialog()).toBeNull();
    await it.user.click(it.getByRole('button', { name: 'Lock now' }));
    expect(asked(it, 'lock')).toHaveLength(1);
  });

  it('is deleted only by typing the end of its address, with a warning where money would be lost', async () => {
    const it = await show('wallet_long');
    await it.user.click(it.getByRole('button', { name: 'Delete wallet' }));
    expect(words(dialog())).toContain('123,456,789.012 TON are in this wallet and its words are not written down.');
    const remove = [...dialog()!.querySelectorAll<HTMLButtonElement>('footer button')].at(-1)!;
    expect(remove.disabled).toBe(true);
    await it.user.type(it.getByLabelText(/last 4 characters/), OWN.plain.slice(-4));
    await it.user.click(remove);
    expect(asked(it, 'delete')).toEqual([[OWN.plain]]);
  });
});
