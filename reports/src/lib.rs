//! Coppice's reports: plain data in, pictures and pages out.
//!
//! A run fills a [`Report`] and hands it over; it is also what `results.json` holds and what `coppice report` reads
//! back. From it come one self-contained HTML page ([`render_html`]), short Markdown tables ([`arms_table`],
//! [`methods_table`]) and the single pictures ([`plots`]); of one model's experts alone, [`render_experts_html`]; of scores alone, [`render_detection_html`]. No torch and no model code; nothing here writes a file.

mod error;
mod html;
mod markdown;
mod methods;

pub mod data;
pub mod plots;
pub mod units;

pub use data::Report;
pub use error::Error;
pub use html::{render_detection_html, render_experts_html, render_html};
pub use markdown::{arms_table, methods_table};
pub use plots::quality_curve_svg;
