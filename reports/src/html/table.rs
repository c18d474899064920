//! What a table of the page is: headed columns, rows of cells that can be sorted.

/// A table.
#[derive(Default)]
pub(super) struct Table {
    /// The element's id, which the filter refers to; empty for none.
    pub(super) id: &'static str,
    /// What the table shows.
    pub(super) caption: &'static str,
    /// Heads over several columns, each with how many; empty for none.
    pub(super) groups: Vec<(String, usize)>,
    /// Column heads.
    pub(super) columns: Vec<Column>,
    /// Rows, as many cells each as there are columns.
    pub(super) rows: Vec<Row>,
}

/// A column's head.
#[derive(Clone, Copy)]
pub(super) struct Column {
    /// The heading.
    pub(super) title: &'static str,
    /// What it means, shown as a hint.
    pub(super) hint: &'static str,
    /// Whether the cells are numbers.
    pub(super) number: bool,
}

/// A row.
#[derive(Default)]
pub(super) struct Row {
    /// A class that marks it.
    pub(super) class: &'static str,
    /// Its cells.
    pub(super) cells: Vec<Cell>,
}

/// A cell.
#[derive(Default)]
pub(super) struct Cell {
    /// What is shown.
    pub(super) text: String,
    /// What it is sorted by; empty to sort by the text.
    pub(super) key: String,
    /// A second line, smaller.
    pub(super) note: String,
}

/// A column of numbers.
pub(super) const fn number(title: &'static str, hint: &'static str) -> Column {
    Column { title, hint, number: true }
}

/// A column of words.
pub(super) const fn words(title: &'static str) -> Column {
    Column { title, hint: "", number: false }
}

impl Cell {
    /// A cell that sorts by a number; missing ones have no key and stand last.
    pub(super) fn number(text: String, value: Option<f64>) -> Self {
        let key = value.filter(|v| v.is_finite()).map(|v| v.to_string());
        Self { text, key: key.unwrap_or_else(|| "none".to_owned()), note: String::new() }
    }

    /// A cell of words.
    pub(super) fn words(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}
