//! What stands where. Lengths are points; places are counted from the page's lower left corner, as PDF does.

use super::NO_ADVICE;
use super::letters::{Face, encode, width, wrap};

/// A4.
pub(super) const PAGE: (f32, f32) = (595.0, 842.0);
const LEFT: f32 = 50.0;
pub(super) const RIGHT: f32 = 545.0;
const TOP: f32 = 792.0;
/// Nothing but the foot stands below this.
const BOTTOM: f32 = 64.0;
const FOOT: f32 = 40.0;
const BODY: f32 = 8.5;
const NOTE: f32 = 6.5;
const LEADING: f32 = 1.32;
/// Longest text of a cell, in letters. No source of a rate is longer.
const LONGEST: usize = 400;

/// A text at its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) face: Face,
    pub(super) size: f32,
    pub(super) text: String,
    /// Less important.
    pub(super) faint: bool,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Page {
    pub(super) runs: Vec<Run>,
    /// Heights of thin lines from margin to margin.
    pub(super) rules: Vec<f32>,
}

/// A column of a table.
pub(super) struct Column<'a> {
    name: &'a str,
    kind: &'a str,
    x: f32,
    width: f32,
    is_right: bool,
}

impl<'a> Column<'a> {
    /// Texts begin at its left.
    pub(super) fn left(name: &'a str, kind: &'a str, x: f32, width: f32) -> Self {
        Self { name, kind, x, width, is_right: false }
    }

    /// Texts end at its right.
    pub(super) fn right(name: &'a str, kind: &'a str, x: f32, width: f32) -> Self {
        Self { name, kind, x, width, is_right: true }
    }
}

/// What stands in a column.
pub(super) struct Cell(String);

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Pages that are being filled.
pub(super) struct Sheet {
    pages: Vec<Page>,
    y: f32,
    /// Runs of a table's head, relative to its first line, and its height: they stand on every page the table goes over.
    head: Option<(Vec<Run>, f32)>,
    complete: bool,
}

impl Sheet {
    pub(super) fn new() -> Self {
        Self { pages: vec![Page::default()], y: TOP, head: None, complete: true }
    }

    /// Whether the typefaces have every letter so far.
    pub(super) fn has_every_letter(&self) -> bool {
        self.complete
    }

    pub(super) fn space(&mut self, height: f32) {
        self.y -= height;
    }

    /// Begins a new page unless so much is left of this one.
    pub(super) fn keep(&mut self, height: f32) {
        if self.y - height < BOTTOM {
            self.turn();
        }
    }

    /// One line, which is cut where it would leave the page.
    pub(super) fn line(&mut self, face: Face, size: f32, text: &str) {
        let first = wrap(face, size, text, RIGHT - LEFT).into_iter().next().unwrap_or_default();
        self.put_line(face, size, first);
    }

    /// As many lines as it takes.
    pub(super) fn prose(&mut self, face: Face, size: f32, text: &str) {
        for line in wrap(face, size, text, RIGHT - LEFT) {
            self.put_line(face, size, line);
        }
    }

    fn put_line(&mut self, face: Face, size: f32, text: String) {
        let height = size * LEADING;
        self.keep(height);
        self.y -= height;
        let y = self.y;
        self.put(Run { x: LEFT, y, face, size, text, faint: false });
    }

    pub(super) fn begin_table(&mut self, columns: &[Column<'_>]) {
        let step = BODY * LEADING;
        let mut head = Vec::new();
        for column in columns {
            for (line, (face, text)) in [(Face::Bold, column.name), (Face::Plain, column.kind)].into_iter().enumerate()
            {
                let x = place(column, face, BODY, text);
                let y = -(line as f32 + 1.0) * step;
                head.push(Run { x, y, face, size: BODY, text: text.to_owned(), faint: line > 0 });
            }
        }
        self.space(4.0);
        // No head stands at the end of a page with nothing below it.
        self.keep(step * 5.0);
        self.head = Some((head, step * 2.0 + 4.0));
        self.put_head();
    }

    pub(super) fn end_table(&mut self) {
        self.head = None;
    }

    pub(super) fn row(&mut self, columns: &[Column<'_>], cells: &[Cell]) {
        self.row_with_notes(columns, cells, &[]);
    }

    /// A row that stands on one page, and small lines below it.
    pub(super) fn row_with_notes(&mut self, columns: &[Column<'_>], cells: &[Cell], notes: &[String]) {
        let step = BODY * LEADING;
        let cut = |text: &str| text.chars().take(LONGEST).collect::<String>();
        let wrapped: Vec<Vec<String>> = columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| wrap(Face::Plain, BODY, &cut(&cell.0), column.width))
            .collect();
        let lines = wrapped.iter().map(Vec::len).max().unwrap_or(1);
        let notes_height = notes.len() as f32 * NOTE * LEADING;
        self.keep(lines as f32 * step + notes_height + 3.0);
        let top = self.y;
        for (column, texts) in columns.iter().zip(wrapped) {
            for (line, text) in texts.into_iter().enumerate() {
                let x = place(column, Face::Plain, BODY, &text);
                let y = top - (line as f32 + 1.0) * step;
                self.put(Run { x, y, face: Face::Plain, size: BODY, text, faint: false });
            }
        }
        self.y = top - lines as f32 * step;
        for note in notes {
            self.y -= NOTE * LEADING;
            let y = self.y;
            self.put(Run { x: LEFT + 10.0, y, face: Face::Fixed, size: NOTE, text: note.clone(), faint: true });
        }
        self.y -= 3.0;
    }

    fn put(&mut self, run: Run) {
        self.complete &= encode(&run.text).1;
        if !run.text.is_empty()
            && let Some(page) = self.pages.last_mut()
        {
            page.runs.push(run);
        }
    }

    fn turn(&mut self) {
        self.pages.push(Page::default());
        self.y = TOP;
        self.put_head();
    }

    fn put_head(&mut self) {
        let Some((runs, height)) = self.head.clone() else { return };
        let top = self.y;
        for run in runs {
            self.put(Run { y: top + run.y, ..run });
        }
        self.y = top - height;
        let y = self.y;
        if let Some(page) = self.pages.last_mut() {
            page.rules.push(y + 1.0);
        }
    }

    /// The pages with their feet.
    pub(super) fn into_pages(mut self) -> Vec<Page> {
        let of = self.pages.len();
        for (at, page) in self.pages.iter_mut().enumerate() {
            let number = format!("Page {} of {of}", at + 1);
            let x = RIGHT - width(Face::Plain, BODY, &number);
            let run = |x, text| Run { x, y: FOOT, face: Face::Plain, size: BODY, text, faint: true };
            page.rules.push(FOOT + 12.0);
            page.runs.push(run(LEFT, NO_ADVICE.to_owned()));
            page.runs.push(run(x, number));
        }
        self.pages
    }
}

/// Where a text begins in its column.
fn place(column: &Column<'_>, face: Face, size: f32, text: &str) -> f32 {
    if column.is_right { column.x + column.width - width(face, size, text) } else { column.x }
}
