//! The automaton: nodes that take bytes, call others, or end.

use zeroize::Zeroize;

use super::{MAX_CHOICES, MAX_NESTING, MAX_NODES};

/// Number of a node.
pub(super) type NodeId = u32;

/// The end of a value: back to where it was called. Always the first node.
pub(super) const END: NodeId = 0;

/// Of a node from which no end can be reached.
pub(super) const NEVER: u16 = u16::MAX;

/// What comes next.
#[derive(Clone, Copy)]
pub(super) enum Node {
    /// A byte, by which it goes on: a range of [`Grammar::edges`].
    Bytes {
        first: u32,
        count: u32,
    },
    /// One of several: a range of [`Grammar::choices`], none of which is again such a node.
    Either {
        first: u32,
        count: u32,
    },
    /// A value of its own, behind which it goes on at `back`.
    Call {
        callee: NodeId,
        back: NodeId,
    },
    /// The inside of a text of so many characters, with its closing quote.
    Text {
        least: u32,
        most: u32,
        next: NodeId,
    },
    /// The inside of a name without escapes, with its closing quote. It is none of those that `names` takes.
    Name {
        names: NodeId,
        next: NodeId,
    },
    /// Space, or none.
    Space {
        next: NodeId,
    },
    End,
}

/// Of a text without a highest number of characters, which need not be counted.
pub(super) const ANY_LENGTH: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
pub(super) struct Edge {
    pub(super) low: u8,
    pub(super) high: u8,
    pub(super) next: NodeId,
}

/// The form that an answer must have, ready to be followed byte by byte. Made by [`Grammar::of_schema`] and
/// [`Grammar::of_any_object`].
///
/// Not printable, and overwritten when dropped: names and words of the schema are in it.
pub struct Grammar {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    choices: Vec<NodeId>,
    /// How many values inside of values a node needs at least until its own value ends.
    heights: Vec<u16>,
    root: NodeId,
}

impl Drop for Grammar {
    fn drop(&mut self) {
        self.edges.fill(Edge::default());
        self.choices.zeroize();
        self.heights.zeroize();
    }
}

impl Grammar {
    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> Node {
        self.nodes.get(id as usize).copied().unwrap_or(Node::End)
    }

    pub(super) fn height(&self, id: NodeId) -> u16 {
        self.heights.get(id as usize).copied().unwrap_or(NEVER)
    }

    /// Where a byte leads from a node of bytes.
    pub(super) fn edge(&self, first: u32, count: u32, byte: u8) -> Option<NodeId> {
        let edges = self.edges.get(first as usize..(first + count) as usize)?;
        let after = edges.partition_point(|edge| edge.high < byte);
        edges.get(after).filter(|edge| edge.low <= byte).map(|edge| edge.next)
    }

    /// What a node stands for: itself, or its choices.
    pub(super) fn choices<'a>(&'a self, id: &'a NodeId) -> &'a [NodeId] {
        match self.node(*id) {
            Node::Either { first, count } => {
                self.choices.get(first as usize..(first + count) as usize).unwrap_or_default()
            }
            _ => std::slice::from_ref(id),
        }
    }

    /// Where a byte of a name leads in a tree of names.
    pub(super) fn in_names(&self, names: NodeId, byte: u8) -> Option<NodeId> {
        self.choices(&names).iter().find_map(|&node| match self.node(node) {
            Node::Bytes { first, count } => self.edge(first, count, byte),
            _ => None,
        })
    }

    /// Whether a name of the tree ends here.
    pub(super) fn ends_name(&self, names: NodeId) -> bool {
        self.choices(&names).contains(&END)
    }
}

/// More was asked for than a grammar may have.
pub(super) struct TooLarge;

/// A node that is still being made.
enum Draft {
    Bytes(Vec<Edge>),
    Either(Vec<NodeId>),
    Other(Node),
}

/// Makes a grammar, from its ends to its beginning.
pub(super) struct Builder {
    drafts: Vec<Draft>,
    /// Edges and choices so far.
    links: usize,
}

impl Drop for Builder {
    fn drop(&mut self) {
        for draft in &mut self.drafts {
            if let Draft::Bytes(edges) = draft {
                edges.fill(Edge::default());
            }
        }
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { drafts: vec![Draft::Other(Node::End)], links: 0 }
    }

    fn push(&mut self, draft: Draft, links: usize) -> Result<NodeId, TooLarge> {
        self.links += links;
        if self.drafts.len() >= MAX_NODES || self.links > MAX_CHOICES {
            return Err(TooLarge);
        }
        self.drafts.push(draft);
        Ok((self.drafts.len() - 1) as NodeId)
    }

    pub(super) fn node(&mut self, node: Node) -> Result<NodeId, TooLarge> {
        self.push(Draft::Other(node), 1)
    }

    /// A node that takes one of some bytes. The ranges are in order and apart.
    pub(super) fn bytes(&mut self, ranges: &[(u8, u8)], next: NodeId) -> Result<NodeId, TooLarge> {
        let edges: Vec<Edge> = ranges.iter().map(|&(low, high)| Edge { low, high, next }).collect();
        self.push(Draft::Bytes(edges), ranges.len())
    }

    pub(super) fn byte(&mut self, byte: u8, next: NodeId) -> Result<NodeId, TooLarge> {
        self.bytes(&[(byte, byte)], next)
    }

    pub(super) fn space(&mut self, next: NodeId) -> Result<NodeId, TooLarge> {
        self.node(Node::Space { next })
    }

    pub(super) fn either(&mut self, choices: Vec<NodeId>) -> Result<NodeId, TooLarge> {
        let count = choices.len();
        self.push(Draft::Either(choices), count)
    }

    /// A node whose choices are said later, with [`Builder::choose`]: for what leads back to itself.
    pub(super) fn open(&mut self) -> Result<NodeId, TooLarge> {
        self.either(Vec::new())
    }

    pub(super) fn choose(&mut self, open: NodeId, choices: Vec<NodeId>) {
        self.links += choices.len();
        if let Some(Draft::Either(of)) = self.drafts.get_mut(open as usize) {
            *of = choices;
        }
    }

    /// Exactly these bytes, one after another.
    pub(super) fn literal(&mut self, bytes: &[u8], next: NodeId) -> Result<NodeId, TooLarge> {
        let mut node = next;
        for &byte in bytes.iter().rev() {
            node = self.byte(byte, node)?;
        }
        Ok(node)
    }

    /// One of several words, then [`END`]: a tree, so that what they have in common is followed once.
    pub(super) fn words(&mut self, mut words: Vec<Vec<u8>>) -> Result<NodeId, TooLarge> {
        words.sort();
        words.dedup();
        let made = self.tree(&words);
        words.zeroize();
        made
    }

    fn tree(&mut self, words: &[Vec<u8>]) -> Result<NodeId, TooLarge> {
        // Ranges of words whose beginnings of some length are equal; children come first in the end, as each is a node when its
        // parent is made. Without recursion: words are long.
        struct Branch {
            words: std::ops::Range<usize>,
            depth: usize,
            /// Of its parent's branches, and the byte that leads here.
            parent: usize,
            byte: u8,
        }
        let mut branches = vec![Branch { words: 0..words.len(), depth: 0, parent: 0, byte: 0 }];
        let mut at = 0;
        while at < branches.len() {
            let (range, depth) = (branches[at].words.clone(), branches[at].depth);
            let mut from = range.start + words[range.clone()].iter().take_while(|word| word.len() == depth).count();
            while from < range.end {
                let byte = words[from][depth];
                let same = words[from..range.end].iter().take_while(|word| word[depth] == byte).count();
                branches.push(Branch { words: from..from + same, depth: depth + 1, parent: at, byte });
                from += same;
            }
            if branches.len() > MAX_NODES {
                return Err(TooLarge);
            }
            at += 1;
        }
        let mut edges: Vec<Vec<Edge>> = branches.iter().map(|_| Vec::new()).collect();
        let mut made = END;
        for (index, branch) in branches.iter().enumerate().rev() {
            let mut edges_here = std::mem::take(&mut edges[index]);
            edges_here.reverse();
            let ends = words.get(branch.words.start).is_some_and(|word| word.len() == branch.depth);
            let count = edges_here.len();
            made = match (ends, edges_here.is_empty()) {
                (true, true) => END,
                (true, false) => {
                    let longer = self.push(Draft::Bytes(edges_here), count)?;
                    self.either(vec![END, longer])?
                }
                (false, _) => self.push(Draft::Bytes(edges_here), count)?,
            };
            if index > 0 {
                edges[branch.parent].push(Edge { low: branch.byte, high: branch.byte, next: made });
            }
        }
        Ok(made)
    }

    /// The finished grammar; `None` if no value has its form.
    pub(super) fn finish(self, root: NodeId) -> Result<Option<Grammar>, TooLarge> {
        let heights = self.heights();
        let mut flat =
            Flat { drafts: &self.drafts, heights: &heights, seen: vec![0; self.drafts.len()], turn: 0, visits: 0 };
        let mut grammar = Grammar {
            nodes: Vec::with_capacity(self.drafts.len()),
            edges: Vec::new(),
            choices: Vec::new(),
            heights: Vec::new(),
            root,
        };
        for (id, draft) in self.drafts.iter().enumerate() {
            grammar.nodes.push(match draft {
                Draft::Bytes(edges) => {
                    let first = grammar.edges.len() as u32;
                    // Names that are excluded are followed to their end, which is always near.
                    grammar.edges.extend(edges.iter().filter(|edge| heights[edge.next as usize] != NEVER));
                    Node::Bytes { first, count: grammar.edges.len() as u32 - first }
                }
                Draft::Either(_) => {
                    let first = grammar.choices.len() as u32;
                    flat.collect(id as NodeId, &mut grammar.choices)?;
                    Node::Either { first, count: grammar.choices.len() as u32 - first }
                }
                Draft::Other(node) => *node,
            });
        }
        let possible = heights.get(root as usize).is_some_and(|&height| height <= MAX_NESTING);
        grammar.heights = heights;
        Ok(possible.then_some(grammar))
    }

    /// The height of every node: whenever one falls, those that it is a way for are looked at again.
    fn heights(&self) -> Vec<u16> {
        let count = self.drafts.len();
        let mut heights = vec![NEVER; count];
        let mut starts = vec![0_u32; count + 1];
        let each = |draft: &Draft, visit: &mut dyn FnMut(NodeId)| match draft {
            Draft::Bytes(edges) => edges.iter().for_each(|edge| visit(edge.next)),
            Draft::Either(choices) => choices.iter().for_each(|&choice| visit(choice)),
            Draft::Other(Node::Call { callee, back }) => {
                visit(*callee);
                visit(*back);
            }
            Draft::Other(Node::Text { next, .. } | Node::Name { next, .. } | Node::Space { next }) => visit(*next),
            Draft::Other(Node::End | Node::Bytes { .. } | Node::Either { .. }) => {}
        };
        for draft in &self.drafts {
            each(draft, &mut |to| starts[to as usize + 1] += 1);
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut places = starts.clone();
        let mut users = vec![0; starts.last().copied().unwrap_or_default() as usize];
        for (id, draft) in self.drafts.iter().enumerate() {
            each(draft, &mut |to| {
                users[places[to as usize] as usize] = id as NodeId;
                places[to as usize] += 1;
            });
        }
        heights[END as usize] = 0;
        let mut fallen = vec![END];
        while let Some(id) = fallen.pop() {
            let (from, to) = (starts[id as usize] as usize, starts[id as usize + 1] as usize);
            for &user in &users[from..to] {
                let of = |id: &NodeId| heights[*id as usize];
                let height = match &self.drafts[user as usize] {
                    Draft::Bytes(edges) => edges.iter().map(|edge| of(&edge.next)).min().unwrap_or(NEVER),
                    Draft::Either(choices) => choices.iter().map(of).min().unwrap_or(NEVER),
                    Draft::Other(Node::Call { callee, back }) => of(callee).saturating_add(1).max(of(back)),
                    Draft::Other(Node::Text { least, most, .. }) if least > most => NEVER,
                    Draft::Other(Node::Text { next, .. } | Node::Name { next, .. } | Node::Space { next }) => of(next),
                    Draft::Other(_) => NEVER,
                };
                // Higher than an answer nests is as good as never, and keeps this short.
                if height < heights[user as usize] && height <= MAX_NESTING {
                    heights[user as usize] = height;
                    fallen.push(user);
                }
            }
        }
        heights
    }
}

/// Follows choices to what they are choices of.
struct Flat<'a> {
    drafts: &'a [Draft],
    heights: &'a [u16],
    /// The turn in which a node was seen last.
    seen: Vec<u32>,
    turn: u32,
    visits: usize,
}

impl Flat<'_> {
    fn collect(&mut self, from: NodeId, out: &mut Vec<NodeId>) -> Result<(), TooLarge> {
        self.turn += 1;
        let mut waiting = vec![from];
        while let Some(id) = waiting.pop() {
            let seen = &mut self.seen[id as usize];
            if *seen == self.turn || self.heights[id as usize] == NEVER {
                continue;
            }
            *seen = self.turn;
            self.visits += 1;
            if self.visits > 4 * MAX_CHOICES {
                return Err(TooLarge);
            }
            match &self.drafts[id as usize] {
                Draft::Either(choices) => waiting.extend(choices.iter().rev()),
                _ => out.push(id),
            }
        }
        if out.len() > MAX_CHOICES { Err(TooLarge) } else { Ok(()) }
    }
}
