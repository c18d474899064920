//! Coppice's reports: plain data in, pictures and pages out.
//!
//! A run fills a [`Report`] and hands it over; it is also what `results.json` holds and what `coppice report` reads
//! back. From it come one self-contained HTML page ([`render_html`]), a short Markdown table ([`arms_table`]) and the
//! single pictures ([`plots`]). No torch and no model code; nothing here writes a file.

mod error;
mod html;
mod markdown;

pub mod data;
pub mod plots;
pub mod units;

pub use data::Report;
pub use error::Error;
pub use html::render_html;
pub use markdown::arms_table;
pub use plots::quality_curve_svg;
