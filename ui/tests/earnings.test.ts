import { tick } from 'svelte';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Opened, openWindow, words } from './window';

let opened: Opened | undefined;
afterEach(() => {
  opened?.store.close();
  opened = undefined;
});

const settled = async () => {
  for (let i = 0; i < 4; i += 1) await Promise.resolve();
  await tick();
};

async function show(...args: Parameters<typeof openWindow>) {
  opened?.store.close();
  opened?.unmount();
  opened = await openWindow(...args);
  await opened.user.keyboard('{Alt>}3{/Alt}');
  await settled();
  return opened;
}

const asked = (it: Opened, name: string) => it.fake.money.asked.filter(([what]) => what === name).map(([, ...rest]) => rest);
const dialog = () => document.querySelector('dialog');
const stages = (container: Element) => [...container.querySelectorAll('.pipe li')].map(words);
const rows = (container: Element) => [...container.querySelectorAll('.moves tbody tr')].map(words);

describe('the chart', () => {
  it('says its result in a sentence and gives every bar by the arrow keys', async () => {
    const { container, getByRole, user } = await show('open');
    expect(getByRole('img', { name: /^30 bars, 2[0-9] \w+ to Today\. Most was earned on/ })).toBeTruthy();
    expect(container.querySelectorAll('rect.b1')).toHaveLength(28);
    expect(container.querySelectorAll('rect.b0')).toHaveLength(2);
    container.querySelector<HTMLElement>('.plot')!.focus();
    await user.keyboard('{End}');
    expect(words(container.querySelector('.tip'))).toMatch(/^Today Earned 0\.\d{6} TON After electricity −?[<\d.]+ TON Questions answered [\d,]+$/);
    await user.keyboard('{Home}{ArrowRight}{ArrowRight}{ArrowRight}{ArrowRight}{ArrowRight}{ArrowRight}{ArrowRight}{ArrowRight}{ArrowRight}');
    expect(words(container.querySelector('.tip'))).toContain('Earned no data yet');
    await user.keyboard('{Escape}');
    expect(container.querySelector('.tip')).toBeNull();
  });

  it('asks for the length of time that is chosen, and shows no other meanwhile', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('radio', { name: '24 h' }));
    await settled();
    expect(asked(it, 'chart')).toEqual([['month'], ['day']]);
    expect(words(it.container.querySelector('.sumrow'))).toContain('Earned in 24 hours');
    expect(it.container.querySelectorAll('rect.b1')).toHaveLength(24);
  });

  it('has no total after electricity while a part of it was not measured', async () => {
    const { container } = await show('open');
    expect(container.querySelectorAll('.line-after')).toHaveLength(1);
    expect(words(container.querySelector('.sumrow'))).toMatch(/After electricity no data yet It was not measured all of the time\. [\d.]+ kWh, measured by the graphics card's driver, card only$/);
  });

  it('has a total after electricity where all of it was measured, and draws what is less than nothing nowhere above', async () => {
    const { container } = await show('open', (fake) => {
      fake.money.chart_ = (chart) => ({ ...chart, bars: chart.bars.slice(12).map((bar) => ({ ...bar, cost: '141000000' })) });
    });
    // 18 bars of 0.1 TON at 1.41 EUR a TON and 0.141 EUR a bar.
    expect(words(container.querySelector('.sumrow'))).toMatch(/After electricity [\d.]+ TON estimate/);
    const loss = await show('open', (fake) => {
      fake.money.chart_ = (chart) => ({ ...chart, bars: chart.bars.slice(12).map((bar) => ({ ...bar, cost: '9000000000000' })) });
    });
    expect(words(loss.container.querySelector('.sumrow'))).toMatch(/After electricity −[\d,.]+ TON estimate/);
    expect(loss.container.querySelector('.line-after')!.getAttribute('d')).not.toMatch(/-\d/);
  });

  it('draws no line where something is missing, and says what', async () => {
    const price = await show('wallet_flight');
    expect(price.container.querySelector('.line-after')).toBeNull();
    expect(words(price.container.querySelector('.sumrow'))).toContain('No line: no price of electricity is known.');
    const practice = await show('practice');
    expect(practice.container.querySelector('.line-after')).toBeNull();
    expect(words(practice.container.querySelector('.sumrow'))).toContain('Practice money is worth nothing, so it has no rate.');
    const other = await show('open', (fake) => {
      fake.money.earnings_ = { ...fake.money.earnings_, power: { power: 'known', price: '0.31', currency: 'USD', from: '2026-01-01' } };
    });
    expect(words(other.container.querySelector('.sumrow'))).toContain('No line: the price of electricity is in USD, the rate in EUR.');
    const blind = await show('open', (fake) => {
      fake.money.chart_ = (chart) => ({ ...chart, kwh: null, bars: chart.bars.map((bar) => ({ ...bar, kwh: null, cost: null })) });
    });
    expect(words(blind.container.querySelector('.sumrow'))).toMatch(/No line: the card's power was not measured\.$/);
  });

  it('says what will stand there, or that nothing is known', async () => {
    const empty = await show('empty');
    expect(words(empty.container.querySelector('.plot'))).toMatch(/^Nothing was earned yet\./);
    const unknown = await show('unknown');
    expect(words(unknown.container.querySelector('.plot'))).toBe('Nothing is known about this time.');
    expect(words(unknown.container.querySelector('.sumrow'))).not.toMatch(/\b0\b/);
  });
});

describe('where the money is', () => {
  it('has four stages, each with its kind, and a zero stays visible', async () => {
    const { container } = await show('open');
    expect(stages(container)).toEqual([
      'Counted 0.014 TON by this PC', 'Signed 0.670 TON by the proxy', 'On the way 0 TON 0 transfers', 'Paid 18.039 TON 5 payouts',
    ]);
    expect([...container.querySelectorAll('.pipe .kind')].map((kind) => kind.classList[1])).toEqual(['measured', 'signed', 'signed', 'paid']);
    expect(words(container.querySelector('.due'))).toContain('It is fetched by itself from 3.6 TON on. Fetching has cost 0.052118 TON so far.');
  });

  it('never shows what is unknown as 0', async () => {
    const { container } = await show('unknown');
    for (const stage of stages(container)) expect(stage).toContain('no data yet');
    expect(words(container.querySelector('.due'))).toContain("The chain can't be asked: toncenter.com: the time was up.");
  });

  it('calls practice money by its name', async () => {
    const { container } = await show('practice');
    const main = words(container.querySelector('main'));
    expect(main).toContain('It is worth nothing.');
    expect(main.replaceAll('practice TON', '')).not.toMatch(/\bTON\b/);
  });

  it('keeps every digit of large sums', async () => {
    const { container } = await show('wallet_long');
    expect(stages(container)[1]).toBe('Signed 987,654,321.987 TON by the proxy');
  });

  it('says that the fee wallet is empty', async () => {
    const { container } = await show('wallet_watch');
    expect(words(container.querySelector('.due'))).toContain('The wallet that pays the fees has 0.02 TON and needs 0.7 TON, most of which comes back.');
  });
});

describe('a currency', () => {
  it('is shown at the owner’s rate, with its source and day, on the chart and the pipeline', async () => {
    const { container, getByRole, user } = await show('open');
    const panel = words(container.querySelector('.switch'));
    expect(panel).toContain('At 1.41 EUR a TON, by CoinGecko, 21 May 2026. An estimate.');
    await user.click(getByRole('radio', { name: 'EUR' }));
    expect(stages(container)).toEqual([
      'Counted 0.02 EUR by this PC', 'Signed 0.94 EUR by the proxy', 'On the way 0 EUR 0 transfers', 'Paid 25.43 EUR 5 payouts',
    ]);
    expect(words(container.querySelector('.sumrow'))).toMatch(/^Earned in 30 days [\d.]+ EUR estimate/);
    container.querySelector<HTMLElement>('.plot')!.focus();
    await user.keyboard('{End}');
    expect(words(container.querySelector('.tip'))).toMatch(/^Today Earned [<\d.]+ EUR After electricity −?[<\d.]+ EUR/);
  });

  it.each([
    ['practice', 'Practice money is worth nothing, so it has no rate.'],
    ['wallet_flight', 'No rate is known. Name one to see a currency.'],
  ] as const)('is not offered in %s, and it is said why', async (scene, why) => {
    const { container, getByRole } = await show(scene);
    expect((getByRole('radio', { name: 'Currency' }) as HTMLInputElement).disabled).toBe(true);
    expect(words(container.querySelector('.switch'))).toContain(why);
    expect(words(container.querySelector('.sumrow')) + words(container.querySelector('.pipe'))).not.toContain('EUR');
  });

  it('says when the owner’s table can not be read', async () => {
    const { container } = await show('open', (fake) => {
      fake.money.earnings_ = { ...fake.money.earnings_, valued: { valued: 'unreadable', why: 'line 3: the rate must be digits' } };
    });
    expect(words(container.querySelector('.switch'))).toContain("Your table can't be read: line 3: the rate must be digits.");
  });

  it('and electricity are the owner’s to name, by the keyboard alone', async () => {
    const it = await show('wallet_flight');
    const open = it.getByRole('button', { name: 'Rate and electricity' });
    open.focus();
    await it.user.keyboard('{Enter}');
    const save = () => it.getByRole('button', { name: 'Save' }) as HTMLButtonElement;
    expect(save().disabled).toBe(true);
    await it.user.type(it.getByLabelText('Currency', { selector: 'input[type=text]' }), 'eur');
    await it.user.type(it.getByLabelText('Worth of one TON today'), '1,5');
    expect(words(dialog())).toContain('Digits with at most one point, and more than 0.');
    await it.user.clear(it.getByLabelText('Worth of one TON today'));
    await it.user.type(it.getByLabelText('Worth of one TON today'), '1.5');
    expect(save().disabled, 'a rate of nobody').toBe(true);
    await it.user.type(it.getByLabelText('Where the rate is from'), 'A bank');
    await it.user.type(it.getByLabelText('Price of a kilowatt-hour'), '0.29');
    await it.user.type(it.getByLabelText('It holds from'), '{Enter}');
    await settled();
    expect(asked(it, 'rate')).toEqual([[{ rate: '1.5', currency: 'EUR', source: 'A bank' }]]);
    expect(asked(it, 'power')).toEqual([[{ price: '0.29', currency: 'EUR', from: new Date().toISOString().slice(0, 10) }]]);
    expect(words(it.container.querySelector('.switch'))).toContain('At 1.5 EUR a TON, by A bank');
  });

  it('that is refused is said to be so, and nothing is lost', async () => {
    const it = await show('open', (fake) => {
      fake.money.refusal = { refusal: 'failed', why: 'the file has rates in EUR and in USD' };
    });
    await it.user.click(it.getByRole('button', { name: 'Rate and electricity' }));
    await it.user.type(it.getByLabelText('Worth of one TON today'), '1.5');
    await it.user.click(it.getByRole('button', { name: 'Save' }));
    await settled();
    expect(words(dialog())).toContain('It failed: the file has rates in EUR and in USD.');
    expect((it.getByLabelText('Worth of one TON today') as HTMLInputElement).value).toBe('1.5');
  });
});

describe('Take it now', () => {
  it('tells what comes in and what it costs before anything is done', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Take it now' }));
    await settled();
    expect(words(dialog())).toContain('Comes in 0.670118 TON signed Network fee about 0.012 TON estimate What remains about 0.658 TON');
    expect(asked(it, 'take')).toEqual([]);
    await it.user.click(it.getByRole('button', { name: 'Take 0.670118 TON' }));
    await settled();
    expect(asked(it, 'take')).toHaveLength(1);
    expect(words(dialog())).toContain('It is on its way.');
  });

  it('does not offer what would not be worth it', async () => {
    const it = await show('open', (fake) => {
      fake.money.refusal = { refusal: 'fee_too_high', fee: '11402000', income: '9000000' };
    });
    await it.user.click(it.getByRole('button', { name: 'Take it now' }));
    await settled();
    expect(words(dialog())).toContain('It would cost 0.011402 TON and bring 0.009 TON.');
    expect(it.queryByRole('button', { name: /^Take \d/ })).toBeNull();
  });

  it.each(['empty', 'wallet_flight', 'unknown'] as const)('is not offered in %s', async (scene) => {
    const { getByRole } = await show(scene);
    expect((getByRole('button', { name: 'Take it now' }) as HTMLButtonElement).disabled).toBe(true);
  });
});

describe('when it is fetched', () => {
  it('is the owner’s to say', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Change' }));
    const amount = it.getByLabelText('From how much on') as HTMLInputElement;
    expect(amount.value).toBe('3.6');
    await it.user.clear(amount);
    await it.user.type(amount, '0');
    expect((it.getByRole('button', { name: 'Save' }) as HTMLButtonElement).disabled).toBe(true);
    await it.user.clear(amount);
    await it.user.type(amount, '1.25{Enter}');
    await settled();
    expect(asked(it, 'threshold')).toEqual([['1250000000']]);
    await it.user.click(it.getByRole('button', { name: 'Change' }));
    await it.user.click(it.getByRole('radio', { name: /Only when I ask/ }));
    await it.user.click(it.getByRole('button', { name: 'Save' }));
    expect(asked(it, 'threshold').at(-1)).toEqual([null]);
  });
});

describe('payouts', () => {
  it('stand with their fee, and with no rate where none is known', async () => {
    const { container } = await show('open');
    expect(rows(container)[0]).toMatch(/3\.612 fee 0\.010402 4\.95 EUR CoinGecko .* Verify$/);
    expect(rows(container)[3]).toMatch(/fee not known no rate/);
  });

  it('are proved on this PC, fact by fact', async () => {
    const it = await show('open');
    await it.user.click(it.getAllByRole('button', { name: /^Verify the payout of/ })[0]!);
    await settled();
    expect(asked(it, 'verify')).toEqual([['500']]);
    expect(rows(it.container)[0]).toContain('Verified 9 of 9 facts');
    expect([...it.container.querySelectorAll('.proof .facts li')]).toHaveLength(9);
    expect(it.container.querySelectorAll('.proof .facts .ok')).toHaveLength(9);
  });

  it('show what does not hold, with what should be there', async () => {
    const it = await show('open');
    await it.user.click(it.getAllByRole('button', { name: /^Verify the payout of/ })[1]!);
    await settled();
    expect(words(it.container)).toContain('Does not hold 8 of 9 facts');
    expect(words(it.container.querySelector('.proof'))).toContain('The amount is the tokens times their price 3609000000, not 3612000000, it is less than the tokens are worth');
  });

  it('call nothing verified that could not be looked at', async () => {
    const it = await show('open');
    await it.user.click(it.getAllByRole('button', { name: /^Verify the payout of/ })[2]!);
    await settled();
    expect(words(it.container)).toContain('In part 3 of 9 facts');
    expect(words(it.container.querySelector('.proof'))).toContain('The chain has this transaction on your address can\'t be told: toncenter.com: the time was up');
    expect(words(it.container.querySelector('.proof'))).toContain("The chain can't be asked. Reason: toncenter.com: the time was up.");
  });

  it('go on to older ones and follow new ones', async () => {
    const { container, user, getByRole, fake } = await show('open');
    await user.click(getByRole('button', { name: 'Show older payouts' }));
    await settled();
    expect(rows(container)).toHaveLength(60);
    fake.money.payouts_ = [{ ...fake.money.payouts_[0]!, key: '900' }, ...fake.money.payouts_];
    fake.say({ event: 'payouts_changed' });
    await vi.waitFor(() => expect(rows(container)).toHaveLength(61), 3_000);
  });

  it('say when the first one comes', async () => {
    const { container } = await show('empty');
    expect(rows(container)).toEqual(['No payouts yet. The first one comes at about 3.6 practice TON.']);
  });
});

describe('files', () => {
  it('are written for a time of the owner’s calendar, and it is said where', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Statement and tax file' }));
    expect(words(dialog())).toContain('This is a record, not tax advice.');
    await it.user.click(it.getByRole('radio', { name: /Tax file/ }));
    await it.user.selectOptions(it.getByLabelText('Of which time'), String(new Date().getFullYear() - 1));
    await it.user.click(it.getByRole('button', { name: 'Write the file' }));
    await settled();
    const year = new Date().getFullYear() - 1;
    expect(asked(it, 'export')).toEqual([[{ kind: 'koinly', month: null, from: String(Date.UTC(year, 0)), to: String(Date.UTC(year + 1, 0)) }]]);
    expect(words(dialog())).toContain('The file is written, with 5 payouts. /home/robin/Documents/Chrysalis payouts 2026.csv 2 of them have no rate; their worth is left blank.');
  });

  it('are a statement of a month of UTC as PDF, or a sheet of electricity', async () => {
    const it = await show('open');
    await it.user.click(it.getByRole('button', { name: 'Statement and tax file' }));
    await it.user.click(it.getByRole('button', { name: 'Write the file' }));
    await settled();
    const month = new Date().toISOString().slice(0, 7);
    expect(asked(it, 'export')).toEqual([[{ kind: 'statement', month, from: null, to: null }]]);
    await it.user.click(it.getAllByRole('button', { name: 'Close' }).at(-1)!);
    await it.user.click(it.getByRole('button', { name: 'Statement and tax file' }));
    await it.user.click(it.getByRole('radio', { name: /^Electricity/ }));
    await it.user.selectOptions(it.getByLabelText('Of which time'), 'all');
    await it.user.click(it.getByRole('button', { name: 'Write the file' }));
    await settled();
    expect(asked(it, 'export').at(-1)).toEqual([{ kind: 'electricity', month: null, from: null, to: null }]);
    expect(words(dialog())).toContain('The file is written. /home');
  });

  it('that can not be written are said to be so', async () => {
    const it = await show('open', (fake) => {
      fake.money.refusal = { refusal: 'failed', why: 'the disk is full' };
    });
    await it.user.click(it.getByRole('button', { name: 'Statement and tax file' }));
    await it.user.click(it.getByRole('button', { name: 'Write the file' }));
    await settled();
    expect(words(dialog())).toContain('It failed: the disk is full.');
  });
});

it('heals with the next event after the app was gone', async () => {
  const { container, fake } = await show('gone');
  expect(words(container.querySelector('main'))).toContain('The app behind this window does not answer.');
  fake.error = null;
  fake.say({ event: 'earnings', data: fake.money.earnings_ });
  await tick();
  expect(stages(container)).toHaveLength(4);
});
