//! Pages in the format PDF 1.7 (ISO 32000-1). Nothing is compressed and no typeface is embedded.

use accounting::statement::Date;
use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

use super::layout::{PAGE, Page, RIGHT, Run};
use super::letters::{Face, encode};

const FACES: [(Face, &[u8], &[u8]); 3] =
    [(Face::Plain, b"F1", b"Helvetica"), (Face::Bold, b"F2", b"Helvetica-Bold"), (Face::Fixed, b"F3", b"Courier")];
const LEFT: f32 = 50.0;
const FAINT: f32 = 0.35;

/// Objects of the document get numbers as they are wanted.
struct Numbers(i32);

impl Numbers {
    fn next(&mut self) -> Ref {
        self.0 += 1;
        Ref::new(self.0)
    }
}

pub(super) fn write(title: &str, written_unix: i64, pages: &[Page]) -> Vec<u8> {
    let mut numbers = Numbers(0);
    let (catalog, tree, info) = (numbers.next(), numbers.next(), numbers.next());
    let faces = FACES.map(|(_, name, base)| (name, base, numbers.next()));
    let pages: Vec<(Ref, Ref, &Page)> = pages.iter().map(|page| (numbers.next(), numbers.next(), page)).collect();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree).lang(TextStr("en"));
    pdf.document_info(info).title(TextStr(title)).creator(TextStr("Chrysalis")).creation_date(moment(written_unix));
    let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(pages.iter().map(|(page, ..)| *page)).count(count);
    for (_, base, at) in faces {
        pdf.type1_font(at).base_font(Name(base)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for (id, stream, page) in pages {
        let mut written = pdf.page(id);
        written.media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1)).parent(tree).contents(stream);
        let mut resources = written.resources();
        let mut fonts = resources.fonts();
        for (name, _, at) in faces {
            fonts.pair(Name(name), at);
        }
        fonts.finish();
        resources.finish();
        written.finish();
        pdf.stream(stream, &content(page));
    }
    pdf.finish()
}

fn content(page: &Page) -> Vec<u8> {
    let mut content = Content::new();
    content.set_line_width(0.5).set_stroke_gray(0.6);
    for rule in &page.rules {
        content.move_to(LEFT, *rule).line_to(RIGHT, *rule).stroke();
    }
    for run in &page.runs {
        show(&mut content, run);
    }
    content.finish().to_vec()
}

fn show(content: &mut Content, run: &Run) {
    let (bytes, complete) = encode(&run.text);
    let name = FACES.iter().find(|(face, ..)| *face == run.face).map_or(&b"F1"[..], |(_, name, _)| name);
    if !complete {
        // What is copied or read aloud is the text itself.
        let mut mark = content.begin_marked_content_with_properties(Name(b"Span"));
        mark.properties().actual_text(TextStr(&run.text));
    }
    content.begin_text();
    content.set_fill_gray(if run.faint { FAINT } else { 0.0 });
    content.set_font(Name(name), run.size);
    content.next_line(run.x, run.y).show(Str(&bytes));
    content.end_text();
    if !complete {
        content.end_marked_content();
    }
}

fn moment(unix: i64) -> pdf_writer::Date {
    let Date { year, month, day } = Date::of_unix(unix);
    let seconds = unix.rem_euclid(86_400);
    let byte = |number: i64| u8::try_from(number).unwrap_or(0);
    pdf_writer::Date::new(u16::try_from(year).unwrap_or(1_970))
        .month(u8::try_from(month).unwrap_or(1))
        .day(u8::try_from(day).unwrap_or(1))
        .hour(byte(seconds / 3_600))
        .minute(byte(seconds / 60 % 60))
        .second(byte(seconds % 60))
        .utc_offset_hour(0)
}
