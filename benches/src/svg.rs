//! What the plots share: a page of SVG, written by hand. A few lines, boxes and texts are all that
//! there is.

use crate::error::BenchError;
use std::{fs, path::Path};

const STYLE: &str = "text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.g{stroke:#ddd}";

/// A page around what is drawn. It is white, so that it can be read on a dark one too.
pub fn page(width: f64, height: f64, style: &str, drawn: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\">\n\
         <style>{STYLE}{style}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         {drawn}</svg>\n"
    )
}

/// Text that is not ours, such as the name of a processor.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Writes a page, with its folder if it is not there.
pub fn write(page: &str, path: &Path) -> Result<(), BenchError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, page)?)
}
