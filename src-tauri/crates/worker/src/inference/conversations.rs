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

/// Most conversations that something is kept of.
pub(super) const MOST: usize = 64;

struct Known {
    conversation: Conversation,
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
        Conversation(self.next)
    }

    /// The conversation of that place, and another that must go for it.
    pub(super) fn find(&mut self, place: &Place, now: Instant) -> (Conversation, Option<Conversation>) {
        if let Some(known) = self.known.get_mut(place) {
            known.used = now;
            return (known.conversation, None);
        }
        let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(place, _)| place.clone());
        let gone = oldest.filter(|_| self.known.len() >= MOST).and_then(|place| self.known.remove(&place));
        let conversation = self.fresh();
        self.known.insert(place.clone(), Known { conversation, used: now });
        (conversation, gone.map(|known| known.conversation))
    }

    /// An answer of this conversation has just ended.
    pub(super) fn touch(&mut self, conversation: Conversation, now: Instant) {
        if let Some(known) = self.known.values_mut().find(|known| known.conversation == conversation) {
            known.used = now;
        }
    }

    /// When the next conversation is over, if it says nothing before.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.known.values().map(|known| known.used + KEEP_FOR).min()
    }

    /// Gives the conversations whose time is up; they are known no more.
    pub(super) fn end_silent(&mut self, now: Instant) -> Vec<Conversation> {
        self.end(|_, known| known.used + KEEP_FOR <= now)
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
        let key = format!("{number:032}");
        Place { lane: LaneId(lane), key: conversation_key([("x-conversation-key", key.as_str())].into_iter()).unwrap() }
    }

    #[test]
    fn a_key_means_a_conversation_on_one_connection_for_a_while() {
        let mut conversations = Conversations::default();
        let begin = Instant::now();
        let (first, _) = conversations.find(&place(1, 1), begin);
        let (elsewhere, _) = conversations.find(&place(2, 1), begin);
        let (other, _) = conversations.find(&place(1, 2), begin);
        assert!(first != elsewhere && first != other && other != elsewhere);
        assert_eq!(conversations.find(&place(1, 1), begin + KEEP_FOR / 2), (first, None));
        conversations.touch(other, begin + KEEP_FOR / 4);
        assert_eq!(conversations.next_end(), Some(begin + KEEP_FOR));
        assert_eq!(conversations.end_silent(begin + KEEP_FOR), [elsewhere]);
        assert_eq!(conversations.end_silent(begin + KEEP_FOR + KEEP_FOR / 4), [other]);
        assert_eq!(conversations.end_of_lane(LaneId(2)), []);
        assert_eq!(conversations.end_of_lane(LaneId(1)), [first]);
        assert_eq!(conversations.next_end(), None);
        let (again, _) = conversations.find(&place(1, 1), begin);
        assert!(![first, elsewhere, other].contains(&again), "never used twice");
        assert_eq!(conversations.end_all(), [again]);
    }

    #[test]
    fn of_too_many_the_one_that_was_silent_longest_goes() {
        let mut conversations = Conversations::default();
        let begin = Instant::now();
        let at = |number: usize| begin + Duration::from_millis(number as u64);
        let all: Vec<_> = (0..MOST).map(|number| conversations.find(&place(1, number), at(number)).0).collect();
        conversations.touch(all[0], at(MOST));
        assert_eq!(conversations.find(&place(1, MOST), at(MOST + 1)).1, Some(all[1]));
        assert_eq!(conversations.end_all().len(), MOST);
    }
}
