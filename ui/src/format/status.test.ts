import { describe, expect, it } from 'vitest';
import { fakeCards, fakeHome } from '../ipc/fake-scenes';
import type { Home, Wish } from '../ipc/view';
import glances from '../../tests/glances.json';
import { place, plainError, questionCount, sentence, startWords } from './status';

const NOW = Date.UTC(2026, 4, 21, 22, 14, 5);
const WORK: Home['wish'] = { wish: 'work' };

function say(status: Home['status'], over: Partial<Home> = {}, asked: Wish | null = null) {
  const home = { ...fakeHome('open', NOW), wish: WORK, status, ...over };
  return sentence({ home, cards: fakeCards('open'), trouble: null, asked, now: NOW });
}
const PAUSE: Partial<Home> = { wish: { wish: 'pause', until: null } };
const practice: Partial<Home> = { network: { kind: 'practice', pays_nothing: true, model: 'M' } };
const test: Partial<Home> = { network: { kind: 'open', pays_nothing: true, model: 'M' } };

describe('the status sentence', () => {
  it('paused', () => {
    expect(say({ state: 'paused', until: null, freed_in_ms: null }, PAUSE)).toMatchObject({
      word: 'Paused', dot: 'paused', title: 'Not working yet.', details: ['It begins when you say so.'], offers: ['start'], pending: false,
    });
  });

  it('paused after work, which was over at once', () => {
    expect(say({ state: 'paused', until: null, freed_in_ms: 27 }, PAUSE)).toMatchObject({
      title: 'Paused because you want it so.', details: ['The memory was free within a tenth of a second.', 'It goes on when you say so.'],
    });
  });

  it('paused for a time, with how fast the card was free', () => {
    expect(say({ state: 'paused', until: NOW + 3_600_000, freed_in_ms: 1800 }, PAUSE)).toMatchObject({
      title: 'Paused until 23:14, because you want it so.', details: ['The memory was free in 1.8 s.', 'It goes on by itself then.'],
    });
    expect(say({ state: 'paused', until: NOW + 36_000_000, freed_in_ms: null }, PAUSE).title).toBe('Paused until tomorrow 08:14, because you want it so.');
  });

  it('loading', () => {
    expect(say({ state: 'loading' })).toMatchObject({ word: 'Loading', title: 'Loading the model Qwen3-8B.', offers: ['pause'] });
  });

  it('connecting', () => {
    expect(say({ state: 'connecting' }).title).toBe('No proxy answers yet, trying again.');
    expect(say({ state: 'connecting' }, practice).title).toBe('Connecting to the practice network.');
  });

  it('waiting', () => {
    expect(say({ state: 'waiting', last_job: NOW - 3_600_000 })).toMatchObject({
      word: 'Waiting', title: 'Ready, waiting for questions.', offers: ['pause', 'finish'], dot: 'waiting',
    });
    expect(say({ state: 'waiting', last_job: NOW - 3_600_000 }).details[0]).toBe('The last job ended 21:14.');
    expect(say({ state: 'waiting', last_job: null }).details[0]).toBe('No job has ended yet.');
  });

  it('working', () => {
    expect(say({ state: 'working', questions: 3 })).toMatchObject({
      word: 'Working', label: 'Working', dot: 'working', title: 'Answering 3 questions on the RTX 4090.', offers: ['pause', 'finish'],
    });
    expect(say({ state: 'working', questions: 1 }, { backend: 'cpu' }).title).toBe('Answering 1 question on the processor.');
  });

  it('finishing', () => {
    const wish = { wish: { wish: 'finish_and_pause' } } as const;
    expect(say({ state: 'finishing', questions: 2 }, wish)).toMatchObject({
      title: 'Finishing 2 questions, then pausing.', offers: ['pause_now', 'keep_working'], pending: false,
    });
    expect(say({ state: 'finishing', questions: 0 }, wish).title).toBe('Waiting for the signed payment, then pausing.');
  });

  it('freeing', () => {
    expect(say({ state: 'freeing' }, PAUSE)).toMatchObject({
      word: 'Pausing…', title: 'Freeing the RTX 4090 because you want it back.', offers: ['pausing'],
    });
  });

  it('restarting', () => {
    expect(say({ state: 'restarting', at: NOW + 8_000, starts: 2, why: 'the graphics device was lost' })).toMatchObject({
      word: 'Restarting', title: 'The worker stopped and starts again at 22:14:13.',
      details: ['Reason: the graphics device was lost.', 'Started 2 times since the app was opened.'],
    });
    expect(say({ state: 'restarting', at: NOW - 1, starts: 1, why: null })).toMatchObject({
      title: 'The worker stopped and is being started again.', details: ['Started 1 time since the app was opened.'],
    });
  });

  it('ledger fails', () => {
    expect(say({ state: 'ledger_fails', why: 'disk full' })).toMatchObject({
      word: 'On hold', dot: 'attention', title: "Work can't be written down, so none is taken.", offers: ['pause'],
    });
  });

  it('failed', () => {
    expect(say({ state: 'failed', why: 'no model' })).toMatchObject({
      dot: 'problem', title: 'Work has stopped and needs you.', details: ['Reason: no model.'], offers: ['try_again', 'pause'],
    });
  });
});

describe('how grave it is', () => {
  // Typed by every state there is, so that a new one can't be left out.
  const states: { [S in Home['status']['state']]: Extract<Home['status'], { state: S }> } = {
    paused: { state: 'paused', until: null, freed_in_ms: null },
    loading: { state: 'loading' },
    connecting: { state: 'connecting' },
    waiting: { state: 'waiting', last_job: null },
    working: { state: 'working', questions: 2 },
    finishing: { state: 'finishing', questions: 1 },
    freeing: { state: 'freeing' },
    restarting: { state: 'restarting', at: NOW, starts: 2, why: null },
    ledger_fails: { state: 'ledger_fails', why: 'disk full' },
    failed: { state: 'failed', why: 'no model' },
  };

  it('is said as the icon in the tray says it, whatever is wished', () => {
    const said = Object.fromEntries(Object.entries(states).map(([name, status]) => [name, say(status, PAUSE).dot]));
    expect(said).toEqual(glances);
  });
});

describe('the wish is not the fact', () => {
  it('says that a pause is wanted while work goes on', () => {
    const said = say({ state: 'working', questions: 1 }, PAUSE);
    expect(said).toMatchObject({ word: 'Pausing…', offers: ['pausing'], pending: true });
    expect(said.title).toBe('Answering 1 question on the RTX 4090.');
  });

  it('says that work is wanted while it rests', () => {
    expect(say({ state: 'paused', until: null, freed_in_ms: null })).toMatchObject({ word: 'Starting…', offers: ['starting'], pending: true });
  });

  it('says so from the click on, before the app has answered', () => {
    expect(say({ state: 'working', questions: 1 }, {}, { wish: 'pause', until: null })).toMatchObject({ word: 'Pausing…', pending: true });
    expect(say({ state: 'working', questions: 1 }, {}, { wish: 'finish_and_pause' })).toMatchObject({ word: 'Finishing', pending: true });
  });

  it('leaves a failure in the foreground', () => {
    expect(say({ state: 'failed', why: 'x' }, PAUSE)).toMatchObject({ word: 'Needs you', pending: false });
  });
});

describe('the mode', () => {
  it('practice says that it pays nothing, with the amber diamond while it works', () => {
    expect(say({ state: 'working', questions: 1 }, practice)).toMatchObject({ label: 'Working, practice pays nothing', dot: 'attention' });
    expect(say({ state: 'paused', until: null, freed_in_ms: null }, { ...practice, ...PAUSE }).dot).toBe('paused');
  });

  it('a test network says so too', () => {
    expect(say({ state: 'working', questions: 1 }, test).label).toBe('Working, a test network pays nothing');
  });

  it('promises money only where it is paid', () => {
    const home = fakeHome('open', NOW);
    expect([home, { ...home, ...practice }, { ...home, ...test }, null].map(startWords)).toEqual([
      'Start earning', 'Start practising', 'Start answering', 'Start answering',
    ]);
  });
});

describe('what is not known', () => {
  it('nothing yet', () => {
    expect(sentence({ home: null, cards: null, trouble: null, asked: null, now: NOW })).toMatchObject({ title: 'Asking the app how things stand.', offers: [] });
  });

  it('the app is gone', () => {
    const trouble = { code: 'app_gone', message: 'channel closed' } as const;
    expect(sentence({ home: null, cards: null, trouble, asked: null, now: NOW })).toMatchObject({
      word: 'Not connected', title: 'The app behind this window does not answer.', offers: [],
    });
    expect(sentence({ home: fakeHome('open', NOW), cards: null, trouble, asked: null, now: NOW }).details.at(-1)).toBe('Last values from 22:14:05.');
  });

  it('every code has plain words', () => {
    for (const code of ['app_gone', 'ledger', 'request', 'not_running', 'refused'] as const) expect(plainError({ code, message: 'x' })).toMatch(/^[A-Z].*\.$/);
  });

  it('where it runs', () => {
    const home = fakeHome('open', NOW);
    expect(place({ ...home, backend: null, adapter: null }, null)).toBe('this PC');
    expect(place({ ...home, adapter: 'Arc A770' }, [])).toBe('the Arc A770');
    expect(questionCount(null)).toBeNull();
    expect(questionCount({ ...home, status: { state: 'loading' } })).toBeNull();
  });
});
