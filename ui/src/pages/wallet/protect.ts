import type { KeyPlace, Protect, Wallet } from '../../ipc/view';

/** What is chosen without being asked: the keychain where it answers, and nothing where it does not. */
export function firstPlace(wallet: Wallet): KeyPlace | null {
  if (wallet.chain === 'practice') return 'practice_file';
  return wallet.keychain && !wallet.keychain.trouble ? 'keychain' : null;
}

/** What to save it with; `null`: something is missing. */
export function protection(place: KeyPlace | null, password: string, again: string): Protect | null {
  if (place === null) return null;
  if (place === 'keychain' || place === 'practice_file') return { place, password: null };
  return password && password === again ? { place, password } : null;
}
