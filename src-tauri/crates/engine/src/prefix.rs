//! Pages of the attention cache that sequences of one conversation have in common.
//!
//! What a page holds follows from its tokens and all those before them, so pages that are shared form trees: one for each
//! conversation, a page below the one it follows. Only whole pages are shared, so nobody ever writes to a page that another reads,
//! and a prompt's last token is never on one, because something must be computed to go on from.
//!
//! A page has users: the sequences whose prompts go over it. The first one that comes to it writes it, the others wait; if the
//! writer ends before that, the next one that comes to it takes over. When the last user is gone the page is free, unless it is
//! kept for what may follow in the same conversation.
//!
//! Pure: it deals in numbers of pages. What is in them, and wiping it, is the backend's business.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::backend::PAGE_TOKENS;
use crate::scheduler::SequenceId;

/// What may share pages: whatever one client, and nobody else, said in one context. How long something took tells whether its
/// beginning was known, so nothing is ever shared across conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conversation {
    /// Out of whose quota it is kept: what is kept of one quota is never pushed out by what is to be kept of another.
    pub quota: u64,
    /// Which one; never the same for two.
    pub number: u64,
}

/// Names a shared page; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SharedId(u64);

/// How far a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nobody is at it.
    Open,
    /// This sequence is.
    Writing(SequenceId),
    /// It holds all of its tokens.
    Whole,
}

struct Shared {
    conversation: Conversation,
    before: Option<SharedId>,
    tokens: Zeroizing<Vec<u32>>,
    page: u32,
    progress: Progress,
    users: usize,
    /// Shared pages that follow this one.
    behind: usize,
    /// Stays when the last user is gone.
    kept: bool,
    /// When it was used last, in a count of its own.
    used: u64,
}

/// All shared pages.
#[derive(Default)]
pub(crate) struct Prefixes {
    shared: BTreeMap<SharedId, Shared>,
    next: u64,
    now: u64,
}

impl Prefixes {
    /// The pages that a prompt begins with, as far as there are such, whole or not. The caller is one more user of each.
    pub(crate) fn join(&mut self, conversation: Conversation, prompt: &[u32]) -> Vec<SharedId> {
        let mut path = Vec::new();
        for tokens in shareable(prompt) {
            let Some(id) = self.find(conversation, path.last().copied(), tokens) else { break };
            self.enter(id);
            path.push(id);
        }
        path
    }

    /// Shares the pages of a prompt that come behind those of its path and that the caller is going to write; the pages are
    /// `fresh`, as many as are needed. The caller is their user.
    pub(crate) fn open(
        &mut self,
        conversation: Conversation,
        prompt: &[u32],
        path: &mut Vec<SharedId>,
        fresh: impl Iterator<Item = u32>,
    ) {
        for (tokens, page) in shareable(prompt).skip(path.len()).zip(fresh) {
            let id = self.insert(conversation, path.last().copied(), tokens, page, Progress::Open);
            path.push(id);
        }
    }

    /// Shares pages behind those of a path that the caller has written: the pages of `tokens`, of which the first `path.len()` are
    /// shared already. The caller is their user. Gives those pages that turned out to be there already, so that they can go.
    pub(crate) fn share_written(
        &mut self,
        conversation: Conversation,
        tokens: &[u32],
        path: &mut Vec<SharedId>,
        pages: &[u32],
    ) -> Vec<u32> {
        let mut twice = Vec::new();
        let whole = tokens.chunks_exact(PAGE_TOKENS).zip(pages).skip(path.len());
        for (tokens, &page) in whole {
            match self.find(conversation, path.last().copied(), tokens) {
                None => {
                    let id = self.insert(conversation, path.last().copied(), tokens, page, Progress::Whole);
                    path.push(id);
                }
                Some(id) if self.is_whole(id) => {
                    self.enter(id);
                    path.push(id);
                    twice.push(page);
                }
                // Somebody else is at it and may never come to an end with it.
                Some(_) => break,
            }
        }
        twice
    }

    /// The numbers of a path's pages.
    pub(crate) fn pages(&self, path: &[SharedId]) -> Vec<u32> {
        path.iter().filter_map(|id| self.shared.get(id)).map(|shared| shared.page).collect()
    }

    /// Whether a page holds all of its tokens.
    pub(crate) fn is_whole(&self, id: SharedId) -> bool {
        self.shared.get(&id).is_some_and(|shared| shared.progress == Progress::Whole)
    }

    /// Whether a sequence may write a page: nobody else is at it, and it is not whole.
    pub(crate) fn may_write(&self, id: SharedId, sequence: SequenceId) -> bool {
        let progress = self.shared.get(&id).map(|shared| shared.progress);
        progress == Some(Progress::Open) || progress == Some(Progress::Writing(sequence))
    }

    /// The sequence is at this page.
    pub(crate) fn write(&mut self, id: SharedId, sequence: SequenceId) {
        if let Some(shared) = self.shared.get_mut(&id).filter(|shared| shared.progress == Progress::Open) {
            shared.progress = Progress::Writing(sequence);
        }
    }

    /// The page that this sequence was at is whole.
    pub(crate) fn written(&mut self, id: SharedId, sequence: SequenceId) {
        if let Some(shared) = self.shared.get_mut(&id).filter(|it| it.progress == Progress::Writing(sequence)) {
            shared.progress = Progress::Whole;
        }
    }

    /// A sequence ends. Gives the pages that are free now: those without users that are not kept.
    pub(crate) fn leave(&mut self, path: &[SharedId], sequence: SequenceId, keep: bool) -> Vec<u32> {
        let mut free = Vec::new();
        self.now += 1;
        // From the end, so that nothing is left behind a page that goes.
        for id in path.iter().rev() {
            let Some(shared) = self.shared.get_mut(id) else { continue };
            shared.users -= 1;
            shared.used = self.now;
            if shared.progress == Progress::Writing(sequence) {
                shared.progress = Progress::Open;
            }
            let whole = shared.progress == Progress::Whole;
            shared.kept |= keep && whole;
            if shared.users == 0 && shared.behind == 0 && !shared.kept {
                free.extend(self.remove(*id));
            }
        }
        free
    }

    /// Pages that nobody uses.
    pub(crate) fn unused(&self) -> usize {
        self.shared.values().filter(|shared| shared.users == 0).count()
    }

    /// Gives what nobody uses of the conversation that was used longest ago; nothing if there is none. All of it or nothing: how much
    /// is left of a conversation then tells nothing of how much others were kept.
    pub(crate) fn evict(&mut self) -> Vec<u32> {
        self.evict_of(|_| true)
    }

    /// Gives what of a conversation's quota is more than so many pages that nobody uses: of the conversation itself those used longest
    /// ago, then other conversations whole, in the order in which they were used last.
    pub(crate) fn trim(&mut self, conversation: Conversation, most: usize) -> Vec<u32> {
        let mut free = Vec::new();
        let unused = |this: &Self, of: &dyn Fn(&Conversation) -> bool| {
            this.shared.values().filter(|shared| shared.users == 0 && of(&shared.conversation)).count()
        };
        while unused(self, &|other| *other == conversation) > most {
            let of_it = self.shared.iter().filter(|(_, shared)| shared.conversation == conversation);
            let ends = of_it.filter(|(_, shared)| shared.users == 0 && shared.behind == 0);
            let Some(id) = ends.min_by_key(|(_, shared)| shared.used).map(|(id, _)| *id) else { break };
            free.extend(self.remove(id));
        }
        while unused(self, &|other| other.quota == conversation.quota) > most {
            let gone = self.evict_of(|other| other.quota == conversation.quota && *other != conversation);
            if gone.is_empty() {
                break;
            }
            free.extend(gone);
        }
        free
    }

    fn evict_of(&mut self, may_go: impl Fn(&Conversation) -> bool) -> Vec<u32> {
        let mut used: BTreeMap<Conversation, (bool, u64)> = BTreeMap::new();
        for shared in self.shared.values().filter(|shared| may_go(&shared.conversation)) {
            let (any, last) = used.entry(shared.conversation).or_default();
            *any |= shared.users == 0;
            *last = shared.used.max(*last);
        }
        let oldest = used.iter().filter(|(_, (any, _))| *any).min_by_key(|(_, (_, last))| *last);
        oldest.map(|(conversation, _)| *conversation).map_or_else(Vec::new, |oldest| self.remove_unused(oldest))
    }

    /// Nothing of a conversation is kept any more. Gives its pages that nobody uses; the others go with their last user.
    pub(crate) fn forget(&mut self, conversation: Conversation) -> Vec<u32> {
        for shared in self.shared.values_mut().filter(|shared| shared.conversation == conversation) {
            shared.kept = false;
        }
        self.remove_unused(conversation)
    }

    fn remove_unused(&mut self, conversation: Conversation) -> Vec<u32> {
        let is_unused = |shared: &Shared| shared.conversation == conversation && shared.users == 0;
        // Pages come after those they follow.
        let unused: Vec<SharedId> =
            self.shared.iter().rev().filter(|(_, shared)| is_unused(shared)).map(|(id, _)| *id).collect();
        unused.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Gives all pages.
    pub(crate) fn clear(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.shared).into_values().map(|shared| shared.page).collect()
    }

    fn find(&self, conversation: Conversation, before: Option<SharedId>, tokens: &[u32]) -> Option<SharedId> {
        let fits = |shared: &Shared| {
            shared.conversation == conversation && shared.before == before && shared.tokens.as_slice() == tokens
        };
        self.shared.iter().find(|(_, shared)| fits(shared)).map(|(id, _)| *id)
    }

    fn enter(&mut self, id: SharedId) {
        self.now += 1;
        if let Some(shared) = self.shared.get_mut(&id) {
            shared.users += 1;
            shared.used = self.now;
        }
    }

    fn insert(
        &mut self,
        conversation: Conversation,
        before: Option<SharedId>,
        tokens: &[u32],
        page: u32,
        progress: Progress,
    ) -> SharedId {
        let id = SharedId(self.next);
        self.next += 1;
        self.now += 1;
        if let Some(before) = before.and_then(|before| self.shared.get_mut(&before)) {
            before.behind += 1;
        }
        let tokens = Zeroizing::new(tokens.to_vec());
        let shared =
            Shared { conversation, before, tokens, page, progress, users: 1, behind: 0, kept: false, used: self.now };
        self.shared.insert(id, shared);
        id
    }

    fn remove(&mut self, id: SharedId) -> Option<u32> {
        let shared = self.shared.remove(&id)?;
        if let Some(before) = shared.before.and_then(|before| self.shared.get_mut(&before)) {
            before.behind -= 1;
        }
        Some(shared.page)
    }
}

/// A prompt's whole pages, but for the one that its last token is on.
fn shareable(prompt: &[u32]) -> impl Iterator<Item = &[u32]> {
    prompt[..prompt.len().saturating_sub(1)].chunks_exact(PAGE_TOKENS)
}
