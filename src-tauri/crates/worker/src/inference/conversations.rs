//! Which conversations go on, and until when something is kept of them.
//!
//! Pure: it is told what time it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine::Conversation;
use link::LaneId;

use super::Place;

/// How long something is kept of a conversation that says nothing.
pub(super) const KEEP_FOR: Duration = Duration::from_mins(5);

/// Most conversations of one connection that something is kept of.
pub(super) const MOST: usize = 64;

/// Quotas of the engine: one for each connection, whose numbers are below this one, and one for each request that has no key.
const NO_CONNECTION: u64 = 1 << 32;

struct Known {
    conversation: Conversation,
    /// Its requests that are being answered or wait for it. While there is one it stays known, however long that takes.
    jobs: usize,
    /// When a request of it came or ended last.
    used: Instant,
}

/// The conversations whose clients gave a key, by key and by the connection on which it came: who operates another proxy learns
/// nothing with a key that he saw.
#[derive(Default)]
pub(super) struct Conversations {
    known: BTreeMap<Place, Known>,
    next: u64,
}

impl Conversations {
    /// A conversation that nobody can come back to.
    pub(super) fn fresh(&mut self) -> Conversation {
        self.next += 1;
        Conversation { quota: NO_CONNECTION + self.next, number: self.next }
    }

    /// The conversation of a place for one more job, which ends with [`Self::job_ended`], and another of the same connection that must
    /// go for it. If all of them have jobs it is one that stays unknown.
    pub(super) fn begin_job(&mut self, place: &Place, now: Instant) -> (Conversation, Option<Conversation>) {
        if let Some(known) = self.known.get_mut(place) {
            known.jobs += 1;
            known.used = now;
            return (known.conversation, None);
        }
        self.next += 1;
        let conversation = Conversation { quota: place.lane.0.into(), number: self.next };
        let of_lane = || self.known.iter().filter(|(other, _)| other.lane == place.lane);
        let mut gone = None;
        if of_lane().count() >= MOST {
            let silent = of_lane().filter(|(_, known)| known.jobs == 0);
            let oldest = silent.min_by_key(|(_, known)| known.used).map(|(place, _)| place.clone());
            let Some(oldest) = oldest else { return (conversation, None) };
            gone = self.known.remove(&oldest).map(|known| known.conversation);
        }
        self.known.insert(place.clone(), Known { conversation, jobs: 1, used: now });
        (conversation, gone)
    }

    /// A job of this conversation has just ended. Whether anybody can come back to it: of one that is known no more nothing may be
    /// kept.
    #[must_use]
    pub(super) fn job_ended(&mut self, conversation: Conversation, now: Instant) -> bool {
        let known = self.known.values_mut().find(|known| known.conversation == conversation);
        if let Some(known) = known {
            known.jobs = known.jobs.saturating_sub(1);
            known.used = now;
            return true;
        }
        false
    }

    /// When the next conversation is over, if it says nothing before.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.known.values().filter(|known| known.jobs == 0).map(|known| known.used + KEEP_FOR).min()
    }

    /// Gives the conversations without jobs whose time is up; they are known no more.
    pub(super) fn end_silent(&mut self, now: Instant) -> Vec<Conversation> {
        self.end(|_, known| known.jobs == 0 && known.used + KEEP_FOR <= now)
    }

    /// Gives the conversations of a connection; they are known no more.
    pub(super) fn end_of_lane(&mut self, lane: LaneId) -> Vec<Conversation> {
        self.end(|place, _| place.lane == lane)
    }

    /// Gives all conversations; they are known no more.
    pub(super) fn end_all(&mut self) -> Vec<Conversation> {
        self.end(|_, _| true)
    }

    fn end(&mut self, ends: impl Fn(&Place, &Known) -> bool) -> Vec<Conversation> {
        let mut ended = Vec::new();
        self.known.retain(|place, known| {
            let ends = ends(place, known);
            ended.extend(ends.then_some(known.conversation));
            !ends
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completions::conversation_key;

    fn place(lane: u32, number: usize) -> Place {
        let key = format!("abcdefgh{number:024}");
        Place { lane: LaneId(lane), key: conversation_key([("x-conversation-key", key.as_str())].into_iter()).unwrap() }
    }

    /// A job that ends at once.
    fn said(conversations: &mut Conversations, place: &Place, now: Instant) -> (Conversation, Option<Conversation>) {
        let (conversation, gone) = conversations.begin_job(place, now);
        assert!(conversations.job_ended(conversation, now));
        (conversation, gone)
    }

    #[test]
    fn a_key_means_a_conversation_on_one_connection_for_a_while() {
        let mut conversations = Conversations::default();
        let begin = Instant::now();
        let (first, _) = said(&mut conversations, &place(1, 1), begin);
        let (elsewhere, _) = said(&mut conversations, &place(2, 1), begin);
        let (other, _) = conversations.begin_job(&place(1, 2), begin);
        assert!(first != elsewhere && first != other && other != elsewhere);
        assert!(first.quota == other.quota && first.quota != elsewhere.quota);
        assert_eq!(said(&mut conversations, &place(1, 1), begin + KEEP_FOR / 2), (first, None));
        assert!(conversations.job_ended(other, begin + KEEP_FOR / 4));
        assert_eq!(conversations.next_end(), Some(begin + KEEP_FOR));
        assert_eq!(conversations.end_silent(begin + KEEP_FOR), [elsewhere]);
        assert_eq!(conversations.end_silent(begin + KEEP_FOR + KEEP_FOR / 4), [other]);
        assert_eq!(conversations.end_of_lane(LaneId(2)), []);
        assert_eq!(conversations.end_of_lane(LaneId(1)), [first]);
        assert_eq!(conversations.next_end(), None);
        let (again, _) = said(&mut conversations, &place(1, 1), begin);
        assert!(![first, elsewhere, other].contains(&again), "never used twice");
        assert_eq!(conversations.end_all(), [again]);
    }

    #[test]
    fn of_too_many_on_a_connection_the_one_that_was_silent_longest_goes() {
        let mut conversations = Conversations::default();
        let begin = Instant::now();
        let at = |number: usize| begin + Duration::from_millis(number as u64);
        let (elsewhere, _) = said(&mut conversations, &place(2, 0), begin);
        let all: Vec<_> =
            (0..MOST).map(|number| said(&mut conversations, &place(1, number), at(number + 1)).0).collect();
        said(&mut conversations, &place(1, 0), at(MOST + 1));
        assert_eq!(said(&mut conversations, &place(1, MOST), at(MOST + 2)).1, Some(all[1]));
        assert_eq!(
            said(&mut conversations, &place(2, 0), at(MOST + 3)),
            (elsewhere, None),
            "another's are none of its business"
        );
        assert_eq!(conversations.end_all().len(), MOST + 1);
    }

    #[test]
    fn a_conversation_with_a_job_is_never_dropped() {
        let mut conversations = Conversations::default();
        let begin = Instant::now();
        let all: Vec<_> = (0..MOST).map(|number| conversations.begin_job(&place(1, number), begin).0).collect();
        assert_eq!((conversations.end_silent(begin + 2 * KEEP_FOR), conversations.next_end()), (vec![], None));
        // One more is not kept, and nobody makes room for it.
        let (unknown, gone) = conversations.begin_job(&place(1, MOST), begin);
        assert!(gone.is_none() && !all.contains(&unknown) && !conversations.job_ended(unknown, begin));
        // The first of two jobs.
        assert_eq!(conversations.begin_job(&place(1, 0), begin), (all[0], None));
        assert!(conversations.job_ended(all[0], begin) && conversations.next_end().is_none());
        assert!(conversations.job_ended(all[0], begin));
        assert_eq!(conversations.begin_job(&place(1, MOST), begin).1, Some(all[0]));
        conversations.end_all();
        assert!(!conversations.job_ended(all[1], begin), "known no more");
    }
}
