//! Where one answer is in its grammar.
//!
//! An answer can be in several places at once, as long as what was said so far does not tell them apart: a [`Way`] is one of them,
//! a node and the calls that led to it. Calls are kept in one list, each with the one around it, so that ways share them.

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroize;

use super::grammar::{ANY_LENGTH, Grammar, Node, NodeId};
use super::text::{self, Place, Step};
use super::vocabulary::Vocabulary;
use super::{MAX_INDENT, MAX_NESTING, MAX_TOKEN_BYTES, MAX_WAYS, MAX_WORK};
use crate::backend::Mask;

/// One place where an answer can be. What `extra` means is the node's: of a text the place inside of it and its characters, of a
/// name the place and where it is among those excluded, of space how much there was.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    node: NodeId,
    extra: u32,
    call: u32,
}

/// A value inside of another: where it goes on behind it, the call around it, and how many there are around.
#[derive(Clone, Copy)]
struct Call {
    back: NodeId,
    around: u32,
    depth: u16,
}

/// The call of the outermost value.
const OUTERMOST: u32 = 0;
/// `extra` has the place in its upper bits.
const PLACE_SHIFT: u32 = 24;
const BELOW_PLACE: u32 = (1 << PLACE_SHIFT) - 1;
/// Calls that may lie around unused before they are swept.
const MAX_IDLE_CALLS: usize = 4096;

/// Follows one answer through its grammar. Not printable, on purpose.
pub struct Matcher {
    grammar: Arc<Grammar>,
    vocabulary: Arc<Vocabulary>,
    calls: Calls,
    ways: Vec<Way>,
}

#[derive(Default)]
struct Calls {
    list: Vec<Call>,
    known: HashMap<(NodeId, u32), u32>,
}

impl Calls {
    fn outermost() -> Self {
        Self { list: vec![Call { back: 0, around: 0, depth: 0 }], known: HashMap::new() }
    }

    fn get(&self, call: u32) -> Call {
        self.list.get(call as usize).copied().unwrap_or(Call { back: 0, around: 0, depth: MAX_NESTING })
    }

    fn make(&mut self, back: NodeId, around: u32) -> u32 {
        if let Some(&known) = self.known.get(&(back, around)) {
            return known;
        }
        let depth = self.get(around).depth + 1;
        let made = self.list.len() as u32;
        self.list.push(Call { back, around, depth });
        self.known.insert((back, around), made);
        made
    }

    /// Forgets those that were made last.
    fn cut(&mut self, length: usize) {
        for call in self.list.drain(length.min(self.list.len())..) {
            self.known.remove(&(call.back, call.around));
        }
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        for way in &mut self.ways {
            way.extra.zeroize();
            way.node.zeroize();
        }
    }
}

impl Matcher {
    /// An answer that has not begun.
    pub fn new(grammar: Arc<Grammar>, vocabulary: Arc<Vocabulary>) -> Self {
        let mut calls = Calls::outermost();
        let mut ways = Vec::new();
        Follow::new(&grammar, &mut calls).arrive(grammar.root(), OUTERMOST, &mut ways);
        Self { grammar, vocabulary, calls, ways }
    }

    /// Whether the value could end here.
    pub fn is_complete(&self) -> bool {
        self.ways.iter().any(|way| self.is_end(*way))
    }

    /// Whether the value has ended: nothing can follow.
    pub fn is_finished(&self) -> bool {
        !self.ways.is_empty() && self.ways.iter().all(|way| self.is_end(*way))
    }

    fn is_end(&self, way: Way) -> bool {
        way.call == OUTERMOST && matches!(self.grammar.node(way.node), Node::End)
    }

    /// Takes a token, which may not be one that ends generation. `false`: it does not fit, and nothing has changed.
    pub fn advance(&mut self, token: u32) -> bool {
        let Self { grammar, vocabulary, calls, ways } = self;
        let piece = vocabulary.piece(token);
        if piece.is_empty() || piece.len() > MAX_TOKEN_BYTES || vocabulary.ends().any(|end| end == token) {
            return false;
        }
        let mut follow = Follow::new(grammar, calls);
        let mut after = Vec::new();
        let mut reached = Vec::new();
        for group in groups(grammar, ways) {
            follow.work = 0;
            follow.bytes(group, piece, &mut reached);
            for &way in &reached {
                follow.add(way, &mut after);
            }
        }
        if after.is_empty() {
            return false;
        }
        *ways = after;
        if self.calls.list.len() > MAX_IDLE_CALLS {
            self.sweep();
        }
        true
    }

    /// The tokens that may come next: those that [`Matcher::advance`] takes, and those that end generation if the value could end
    /// here. Empty only if the vocabulary cannot spell what would have to come.
    pub fn mask(&mut self) -> Mask {
        let Self { grammar, vocabulary, calls, ways } = self;
        let mut mask = Mask::nothing(vocabulary.size());
        if ways.iter().any(|way| way.call == OUTERMOST && matches!(grammar.node(way.node), Node::End)) {
            vocabulary.ends().for_each(|end| mask.admit(end));
        }
        let length = calls.list.len();
        let mut follow = Follow::new(grammar, calls);
        for group in groups(grammar, ways) {
            match *group.as_slice() {
                [way] if is_inside(grammar, way) => follow.inside(way, vocabulary, &mut mask),
                _ => follow.tree(group, vocabulary, &mut mask),
            }
        }
        calls.cut(length);
        mask
    }

    /// Forgets calls that no way came through.
    fn sweep(&mut self) {
        let old = std::mem::replace(&mut self.calls, Calls::outermost());
        for way in &mut self.ways {
            let mut chain = Vec::new();
            let mut call = way.call;
            while call != OUTERMOST {
                let entry = old.get(call);
                chain.push(entry.back);
                call = entry.around;
            }
            way.call = chain.iter().rev().fold(OUTERMOST, |around, &back| self.calls.make(back, around));
        }
    }
}

/// Whether a way is inside of a text or a name, where every token has been looked at beforehand.
fn is_inside(grammar: &Grammar, way: Way) -> bool {
    matches!(grammar.node(way.node), Node::Text { .. } | Node::Name { .. })
}

/// Ways that are followed together: all that are not inside of a text; each other alone. What a token does must not depend on who
/// asks, as a crowd of ways is cut.
fn groups(grammar: &Grammar, ways: &[Way]) -> Vec<Vec<Way>> {
    let (inside, others): (Vec<Way>, Vec<Way>) = ways.iter().partition(|way| is_inside(grammar, **way));
    let mut groups: Vec<Vec<Way>> = inside.into_iter().map(|way| vec![way]).collect();
    if !others.is_empty() {
        groups.push(others);
    }
    groups
}

struct Follow<'a> {
    grammar: &'a Grammar,
    calls: &'a mut Calls,
    /// How much was looked at so far.
    work: usize,
}

impl<'a> Follow<'a> {
    fn new(grammar: &'a Grammar, calls: &'a mut Calls) -> Self {
        Self { grammar, calls, work: 0 }
    }

    /// Whether it is time to give up. Taking a token never comes this far if a mask admitted it, for the mask looked at the same
    /// and at more.
    fn is_spent(&self) -> bool {
        self.work > MAX_WORK
    }

    /// Adds a way that is not among them, unless there are too many. What is left out costs some freedom, and no more: every way
    /// leads to an end.
    fn add(&mut self, way: Way, out: &mut Vec<Way>) {
        if out.len() >= MAX_WAYS {
            return;
        }
        self.work += out.len() + 1;
        if !out.contains(&way) {
            out.push(way);
        }
    }

    /// Adds a way if it can still end within the nesting allowed.
    fn put(&mut self, way: Way, out: &mut Vec<Way>) {
        if self.fits(way.node, way.call) {
            self.add(way, out);
        }
    }

    fn fits(&self, node: NodeId, call: u32) -> bool {
        self.calls.get(call).depth.saturating_add(self.grammar.height(node)) <= MAX_NESTING
    }

    /// All ways that begin at a node.
    fn arrive(&mut self, node: NodeId, call: u32, out: &mut Vec<Way>) {
        let grammar = self.grammar;
        for &node in grammar.choices(&node) {
            self.work += 1;
            if self.is_spent() || !self.fits(node, call) {
                continue;
            }
            match grammar.node(node) {
                Node::Call { callee, back } => {
                    let made = self.calls.make(back, call);
                    self.arrive(callee, made, out);
                }
                Node::End if call == OUTERMOST => self.add(Way { node, extra: 0, call }, out),
                Node::End => {
                    let Call { back, around, .. } = self.calls.get(call);
                    self.arrive(back, around, out);
                }
                Node::Space { next } => self.spaced(node, 0, call, next, out),
                Node::Name { names, .. } => self.put(Way { node, extra: names & BELOW_PLACE, call }, out),
                Node::Bytes { .. } | Node::Text { .. } => self.put(Way { node, extra: 0, call }, out),
                // None of them is among choices.
                Node::Either { .. } => {}
            }
        }
    }

    fn spaced(&mut self, node: NodeId, extra: u32, call: u32, next: NodeId, out: &mut Vec<Way>) {
        if extra <= MAX_INDENT {
            self.put(Way { node, extra, call }, out);
        }
        self.arrive(next, call, out);
    }

    /// Where one byte leads.
    fn step(&mut self, way: Way, byte: u8, out: &mut Vec<Way>) {
        let Way { node, extra, call } = way;
        match self.grammar.node(node) {
            Node::Bytes { first, count } => {
                if let Some(next) = self.grammar.edge(first, count, byte) {
                    self.arrive(next, call, out);
                }
            }
            Node::Space { next } => match (extra, byte) {
                (0, b' ') => self.arrive(next, call, out),
                (0, b'\n') => self.spaced(node, 1, call, next, out),
                (1.., b' ' | b'\t') => self.spaced(node, extra + 1, call, next, out),
                _ => {}
            },
            Node::Text { least, most, next } => {
                let place = Place::of(extra >> PLACE_SHIFT);
                let count = extra & BELOW_PLACE;
                match text::step(place, byte, false) {
                    Step::To(to) => {
                        let begins = u32::from(place == Place::Between && is_counted(least, most));
                        if begins == 0 || count < most {
                            // Where there is no highest number, more than enough is as good as enough.
                            let count = if most == ANY_LENGTH { (count + begins).min(least) } else { count + begins };
                            self.put(Way { extra: to.number() << PLACE_SHIFT | count, ..way }, out);
                        }
                    }
                    Step::Close if count >= least => self.arrive(next, call, out),
                    Step::Close | Step::No => {}
                }
            }
            Node::Name { next, .. } => {
                let place = Place::of(extra >> PLACE_SHIFT);
                let names = extra & BELOW_PLACE;
                match text::step(place, byte, true) {
                    Step::To(to) => {
                        let names = self.grammar.in_names(names, byte).unwrap_or(BELOW_PLACE);
                        self.put(Way { extra: to.number() << PLACE_SHIFT | names, ..way }, out);
                    }
                    Step::Close if names == BELOW_PLACE || !self.grammar.ends_name(names) => {
                        self.arrive(next, call, out);
                    }
                    Step::Close | Step::No => {}
                }
            }
            Node::End | Node::Either { .. } | Node::Call { .. } => {}
        }
    }

    /// Where several bytes lead.
    fn bytes(&mut self, from: Vec<Way>, bytes: &[u8], out: &mut Vec<Way>) {
        *out = from;
        let mut before = Vec::new();
        for &byte in bytes {
            std::mem::swap(&mut before, out);
            out.clear();
            self.work += before.len();
            for &way in &before {
                self.step(way, byte, out);
            }
        }
    }

    /// Admits the tokens that ways outside of texts can take, by walking through all that begin alike at once.
    fn tree(&mut self, from: Vec<Way>, vocabulary: &Vocabulary, mask: &mut Mask) {
        // Behind each byte of the way here.
        let mut along = vec![from];
        let branches = vocabulary.branches();
        let mut at = 0;
        while let Some(branch) = branches.get(at) {
            let depth = usize::from(branch.depth);
            if along.len() == depth {
                along.push(Vec::new());
            }
            let Some((before, after)) = along.split_at_mut_checked(depth) else { return };
            let (Some(before), Some(after)) = (before.last(), after.first_mut()) else { return };
            after.clear();
            self.work += before.len();
            for &way in before {
                self.step(way, branch.byte, after);
            }
            if self.is_spent() {
                return;
            }
            if after.is_empty() {
                at = branch.end as usize;
            } else {
                vocabulary.tokens_at(at).iter().for_each(|&token| mask.admit(token));
                at += 1;
            }
        }
    }

    /// Admits the tokens that a way inside of a text or name can take.
    fn inside(&mut self, way: Way, vocabulary: &Vocabulary, mask: &mut Mask) {
        let place = Place::of(way.extra >> PLACE_SHIFT);
        let below = way.extra & BELOW_PLACE;
        let (least, most, next, plain) = match self.grammar.node(way.node) {
            Node::Text { least, most, next } => (least, most, next, false),
            Node::Name { next, .. } => (0, ANY_LENGTH, next, true),
            _ => return,
        };
        let inside = vocabulary.inside(place, plain);
        let counted = is_counted(least, most) && !plain;
        let room = if counted { most.saturating_sub(below) } else { ANY_LENGTH };
        self.work += vocabulary.size() / if room as usize >= MAX_TOKEN_BYTES { 32 } else { 1 };
        if self.is_spent() {
            return;
        }
        if room as usize >= MAX_TOKEN_BYTES {
            mask.add(&inside.stay);
        } else {
            let fitting = (0_u32..).zip(&inside.characters).filter(|(_, characters)| u32::from(**characters) <= room);
            for (token, _) in fitting.filter(|(token, _)| inside.stay.admits(*token)) {
                mask.admit(token);
            }
        }
        let mut behind = Vec::new();
        self.arrive(next, way.call, &mut behind);
        let mut reached = Vec::new();
        for leave in &inside.leave {
            self.bytes(behind.clone(), &leave.rest, &mut reached);
            self.work += leave.tokens.len();
            if self.is_spent() {
                return;
            }
            if reached.is_empty() {
                continue;
            }
            for &(token, characters) in &leave.tokens {
                let fits = if plain {
                    self.may_close(below, vocabulary.piece(token), leave.rest.len())
                } else {
                    let characters = u32::from(characters);
                    !counted || (characters <= room && below + characters >= least)
                };
                if fits {
                    mask.admit(token);
                }
            }
        }
    }

    /// Whether a name that goes on with a token, up to its closing quote, is none of those excluded.
    fn may_close(&self, names: u32, piece: &[u8], rest: usize) -> bool {
        let name = piece.get(..piece.len().saturating_sub(rest + 1)).unwrap_or_default();
        let mut at = Some(names).filter(|&names| names != BELOW_PLACE);
        for &byte in name {
            at = at.and_then(|names| self.grammar.in_names(names, byte));
        }
        at.is_none_or(|names| !self.grammar.ends_name(names))
    }
}

/// Whether characters of a text matter.
fn is_counted(least: u32, most: u32) -> bool {
    least > 0 || most != ANY_LENGTH
}
