// Looks at the window as its owner would: builds it with the fake behind it, opens it in Chromium under the policy the app sets,
// and checks what only a real browser can tell: pictures, accessibility, overflow, the keyboard, a language Intl does not know.
//
//   node tests/screens.mjs [part of a picture's name]      pictures land in ui/screens
import { mkdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build, preview } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const only = process.argv[2] ?? '';
const axe = await readFile(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'";
/** Thursday 21 May 2026, 22:14:05. */
const NOW = new Date('2026-05-21T22:14:05');

const desktop = { width: 1120, height: 760 };
const middle = { width: 820, height: 760 };
const narrow = { width: 360, height: 740 };

const home = (scene) => ({ scene, page: 'home' });
const jobs = (scene, pick = true) => ({ scene, page: 'jobs', pick });
const earnings = (scene, does) => ({ scene, page: 'earnings', does });
const wallet = (scene, does) => ({ scene, page: 'wallet', does });
const trust = (scene, does) => ({ scene, page: 'trust', does });
const FRIEND = 'UQDyibNJwwW_94zrdABK4bxTrWseZiaszywJH3Iu2OM52FL0';
const LOOKALIKE = 'UQDyibZ8r1tLqUeQ0cXy6PnDg7mVwKsAo3JHfTRb9OM52FL0';
const press = (name) => (page) => page.getByRole('button', { name, exact: true }).first().click();
const all = (...steps) => async (page) => {
  for (const step of steps) await step(page);
};
const fill = (label, text) => (page) => page.getByLabel(label, { exact: true }).fill(text);
const toAmount = all(press('Send'), fill('Send to', FRIEND), press('Continue'));
const toReview = all(toAmount, fill('Amount', '5'), press('Review'));
const WORDS = 'ribbon candle orbit maple velvet anchor pepper tunnel garden silver crater window';
const MONEY = [
  { name: 'earnings-open', ...earnings('open') },
  { name: 'wallet-open', ...wallet('open') },
  { name: 'wallet-none', ...wallet('wallet_none') },
  { name: 'wallet-long', ...wallet('wallet_long') },
  { name: 'wallet-review', ...wallet('open', toReview) },
  { name: 'wallet-words', ...wallet('open', all(press('Show the words'), (page) => page.getByRole('dialog').getByRole('button', { name: 'Show the words' }).click())) },
  ...[
    ['earnings-practice', earnings('practice')],
    ['wallet-practice', wallet('practice')],
    ['wallet-watch', wallet('wallet_watch')],
    ['earnings-long', earnings('wallet_long')],
    ['earnings-proof', earnings('open', (page) => page.getByRole('button', { name: /^Verify/ }).nth(1).click())],
    ['wallet-receive', wallet('open', press('Receive'))],
    ['wallet-receive-practice', wallet('practice', press('Receive'))],
    ['earnings-empty', earnings('empty')],
    ['earnings-unknown', earnings('unknown')],
    ['earnings-flight', earnings('wallet_flight')],
    ['earnings-gone', earnings('gone')],
    ['earnings-week', earnings('open', (page) => page.getByLabel('7 days').check({ force: true }))],
    ['earnings-tip', earnings('open', (page) => page.locator('.plot').hover({ position: { x: 200, y: 60 } }))],
    ['earnings-currency', earnings('open', (page) => page.getByLabel('EUR').check({ force: true }))],
    ['earnings-values', earnings('open', press('Rate and electricity'))],
    ['earnings-take', earnings('open', press('Take it now'))],
    ['earnings-threshold', earnings('open', press('Change'))],
    ['earnings-electricity', earnings('open', all(press('Statement and tax file'), (page) => page.getByRole('radio', { name: /^Electricity/ }).check({ force: true })))],
    ['earnings-files', earnings('open', press('Statement and tax file'))],
    ['earnings-written', earnings('open', all(press('Statement and tax file'), press('Write the file')))],
    ['wallet-empty', wallet('empty')],
    ['wallet-unknown', wallet('unknown')],
    ['wallet-no-keychain', wallet('wallet_no_keychain')],
    ['wallet-locked', wallet('wallet_locked')],
    ['wallet-key-gone', wallet('wallet_key_gone')],
    ['wallet-damaged', wallet('wallet_damaged')],
    ['wallet-flight', wallet('wallet_flight')],
    ['wallet-gone', wallet('gone')],
    ['wallet-send', wallet('open', all(press('Send'), fill('Send to', LOOKALIKE), press('Continue')))],
    ['wallet-amount', wallet('open', all(toAmount, fill('Amount', '8'), press('Review')))],
    ['wallet-sent', wallet('open', all(toReview, press('Send 5 TON')))],
    ['wallet-quiz', wallet('open', all(press('Show the words'), (page) => page.getByRole('dialog').getByRole('button', { name: 'Show the words' }).click(), press('I have written them down')))],
    ['wallet-create', wallet('wallet_none', all((page) => page.getByRole('button', { name: 'Make a new wallet' }).click(), (page) => page.getByRole('radio', { name: /A file with a password/ }).check()))],
    ['wallet-import', wallet('wallet_none', all(press('Bring a wallet by its words'), fill('Words', WORDS), press('Read the words')))],
    ['wallet-wrong-words', wallet('wallet_none', all(press('Bring a wallet by its words'), fill('Words', 'ribbon candle'), press('Read the words')))],
    ['wallet-pay-to', wallet('open', press('Change payout address'))],
    ['wallet-rules', wallet('open', press('Lock and limit'))],
    ['wallet-unlock', wallet('wallet_locked', press('Unlock'))],
    ['wallet-delete', wallet('wallet_long', press('Delete wallet'))],
  ].map(([name, picture], i) => ({ name, ...picture, only: ['dark-1120', 'light-1120', 'light-360'][i % 3] })),
];
const explain = (page) => page.getByRole('switch').check({ force: true });
const TRUST = [
  ...['practice', 'open', 'trust_known', 'trust_sealed', 'trust_refused', 'trust_windows', 'trust_rule', 'fallback', 'paused', 'unknown'].map((scene) => ({ name: `trust-${scene.replace('trust_', '')}`, ...trust(scene) })),
  { name: 'trust-explained', ...trust('open', explain), tall: true },
  { name: 'trust-gone', ...trust('gone'), only: 'light-1120' },
];
const PICTURES = [
  ...MONEY,
  ...TRUST,
  ...['practice', 'paused', 'failed', 'open'].map((scene) => ({ name: `home-${scene}`, ...home(scene) })),
  ...['fallback', 'unknown', 'pausing', 'restarting', 'empty', 'gone', 'ledger', 'loading', 'passed_over', 'unlisted'].map((scene) => ({ name: `home-${scene}`, ...home(scene), only: 'dark-1120' })),
  { name: 'home-menu', ...home('open'), menu: true, only: 'light-1120' },
  { name: 'jobs-open', ...jobs('open') },
  { name: 'jobs-practice', ...jobs('practice') },
  { name: 'jobs-plain', ...jobs('open', false), only: 'light-1120' },
  { name: 'jobs-empty', ...jobs('empty', false), only: 'dark-1120' },
  { name: 'jobs-ledger', ...jobs('ledger', false), only: 'dark-1120' },
];

let passed = 0;
const failures = [];
function check(what, holds, detail = '') {
  if (holds) passed += 1;
  else failures.push(`${what}${detail ? `: ${detail}` : ''}`);
}

async function open(context, { scene, page: where, pick, menu, does, address = '' }) {
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => check(`${scene} ${where}`, false, String(error)));
  page.on('console', (message) => message.type() === 'error' && check(`${scene} ${where}`, false, message.text()));
  page.on('request', (request) => check('asks only itself', request.url().startsWith(base), request.url()));
  await page.clock.install({ time: NOW });
  await page.goto(`${base}/?scene=${scene}${address}`);
  await page.waitForSelector('.status h1');
  if (where === 'jobs') {
    await page.keyboard.press('Alt+2');
    await page.waitForSelector('table.data');
    if (pick) await page.locator('.open-job').nth(2).click();
  }
  const key = { earnings: 'Alt+3', wallet: 'Alt+4', trust: 'Alt+5' }[where];
  if (key) {
    await page.keyboard.press(key);
    await page.waitForSelector('.page-head h1');
    if (does) await does(page);
  }
  if (menu) await page.getByRole('button', { name: 'Choose how long to pause' }).click();
  // The chart is drawn in the frame after next.
  await page.evaluate(() => document.fonts.ready);
  await page.clock.runFor(200);
  return page;
}

async function audit(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  for (const { id, impact, nodes } of violations) {
    const grave = impact === 'serious' || impact === 'critical';
    const line = `${id} (${impact}) ${nodes.slice(0, 3).map((node) => node.target.join(' ')).join(', ')}`;
    if (grave) check(`axe ${name}`, false, line);
    else console.log(`note: axe ${name}: ${line}`);
  }
  check(`axe ${name}`, true);
  const cut = await page.evaluate(() => [...document.querySelectorAll('.panel, dialog')].filter((panel) => panel.scrollWidth > panel.clientWidth + 1).map((panel) => panel.getAttribute('aria-label') ?? panel.className));
  check(`${name}: nothing is cut off`, cut.length === 0, cut.join(', '));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(`${name} does not scroll sideways`, wide <= 0, `${wide} px`);
}

await build({ root, mode: 'fake', logLevel: 'warn' });
const server = await preview({
  root, mode: 'fake', logLevel: 'warn', build: { outDir: 'dist-fake' },
  preview: { port: 0, host: '127.0.0.1', headers: { 'Content-Security-Policy': POLICY } },
});
const base = `http://127.0.0.1:${server.httpServer.address().port}`;
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const launch = (...more) => chromium.launch({ executablePath: '/usr/bin/chromium', args: [...flags, ...more] });
await mkdir(`${root}screens`, { recursive: true });

// A page that spins answers no question of ours either.
const watchdog = setTimeout(() => {
  console.error('FAILED to come to an end in twenty minutes');
  process.exit(1);
}, 1_200_000);

const browser = await launch();
for (const colorScheme of ['dark', 'light']) {
  for (const viewport of [desktop, middle, narrow]) {
    const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce', locale: 'en-US' });
    for (const picture of PICTURES) {
      const name = `${picture.name}-${colorScheme}-${viewport.width}`;
      if (!name.includes(only) || (picture.only && !name.endsWith(picture.only))) continue;
      const page = await open(context, picture);
      await audit(page, name);
      await page.screenshot({ path: `${root}screens/${name}.png`, fullPage: (picture.tall || !picture.does) && (viewport !== desktop || picture.page !== 'jobs') });
      await page.close();
    }
    await context.close();
  }
}

if (!only) {
  // A language Intl refuses (WebKitGTK under LANG=C.UTF-8) must not leave the window white.
  const context = await browser.newContext({ viewport: desktop });
  await context.addInitScript(() => Object.defineProperty(Navigator.prototype, 'language', { get: () => 'C', configurable: true }));
  const strange = await open(context, home('practice'));
  check('language C: the chart is drawn', (await strange.locator('canvas').count()) === 2);
  await strange.close();

  // From the keyboard alone.
  const page = await open(context, home('open'));
  await page.keyboard.press('Tab');
  check('skip link first', (await page.evaluate(() => document.activeElement.textContent)) === 'Skip to content');
  await page.keyboard.press('Alt+2');
  check('Alt+2 shows Jobs', (await page.locator('h1').textContent()) === 'Jobs');
  await page.keyboard.press('Alt+f');
  check('Alt+F goes to the filter', (await page.evaluate(() => document.activeElement.tagName)) === 'SELECT');
  await page.locator('.open-job').first().focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  check('Enter opens the side panel', (await page.locator('#priced').count()) === 1);
  check('and goes into it', (await page.evaluate(() => document.activeElement.id)) === 'priced-title');
  const seen = await page.locator('#priced').evaluate((panel) => panel.getBoundingClientRect().top);
  check('where it can be seen', seen >= 0 && seen < desktop.height, `${seen} px`);
  await page.keyboard.press('Escape');
  check('Esc closes it', (await page.locator('#priced').count()) === 0);
  check('and gives the focus back', (await page.evaluate(() => document.activeElement.className)).includes('open-job'));
  const before = await page.locator('.open-job').count();
  await page.getByRole('button', { name: 'Show older jobs' }).click();
  check('older jobs follow', (await page.locator('.open-job').count()) > before);
  await page.keyboard.press('Alt+1');
  await page.keyboard.press('Alt+p');
  check('Alt+P pauses', (await page.locator('.status .state').textContent()).includes('Pausing'));
  // A dialog holds the focus, and gives it back.
  await page.keyboard.press('Alt+4');
  const receive = page.getByRole('button', { name: 'Receive', exact: true });
  await receive.focus();
  await page.keyboard.press('Enter');
  check('a dialog begins at its title', (await page.evaluate(() => document.activeElement.tagName)) === 'H2');
  for (let i = 0; i < 12; i += 1) await page.keyboard.press('Tab');
  check('Tab stays in it or in the browser', await page.evaluate(() => document.activeElement === document.body || document.querySelector('dialog').contains(document.activeElement)));
  await page.keyboard.press('Alt+1');
  check('keys of the window rest under it', (await page.locator('dialog').count()) === 1);
  await page.keyboard.press('Escape');
  check('Esc closes it too', (await page.locator('dialog').count()) === 0);
  check('and the button has the focus again', await receive.evaluate((button) => button === document.activeElement));
  await page.keyboard.press('Alt+3');
  await page.locator('.plot').focus();
  await page.keyboard.press('End');
  check('arrows read the chart', (await page.locator('.tip strong').textContent()) === 'Today');
  await page.keyboard.press('Alt+1');
  const calm = await open(context, home('practice'));
  check('Home fits its window', await calm.evaluate(() => document.documentElement.scrollHeight <= innerHeight), `${await calm.evaluate(() => document.documentElement.scrollHeight)} px`);
  await calm.close();
  await page.close();
  await context.close();

  // Text of twice the size: nothing is cut off.
  const large = await launch('--blink-settings=defaultFontSize=32');
  for (const picture of [home('open'), jobs('open'), earnings('open'), wallet('open'), wallet('open', toReview), trust('trust_refused')]) {
    const big = await large.newContext({ viewport: desktop, colorScheme: 'dark', reducedMotion: 'reduce' });
    const grown = await open(big, picture);
    await audit(grown, `${picture.page} at 200 %`);
    await grown.screenshot({ path: `${root}screens/${picture.page}${picture.does ? '-review' : ''}-200-percent.png`, fullPage: !picture.does });
    await big.close();
  }
  await large.close();
}

await browser.close();
await server.close();
clearTimeout(watchdog);
for (const failure of failures) console.error(`FAILED ${failure}`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length ? 1 : 0;
