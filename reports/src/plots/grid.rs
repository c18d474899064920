//! Where the cells of a heat map lie, and the SVG paths of one: filled, hatched, crossed out. All in units from the top left.

/// Height of the heading with the column labels.
const HEAD: i32 = 84;

/// Steps of the colour scale below the map.
pub(crate) const STEPS: i32 = 48;

/// Where the cells lie.
pub(crate) struct Grid {
    /// Left edge.
    pub(crate) left: i32,
    /// Right edge.
    pub(crate) right: i32,
    /// Top edge.
    pub(crate) top: i32,
    /// Number of rows.
    pub(crate) rows: i32,
    /// Number of columns.
    pub(crate) columns: i32,
    /// Height of a row.
    pub(crate) height: i32,
}

impl Grid {
    /// The grid of a map `width` wide whose row labels take up to `labels`; cells are square where there are as many rows as columns.
    pub(crate) fn new(width: i32, labels: i32, rows: usize, columns: usize) -> Self {
        let (left, right) = (labels + 32, width - 24);
        let (rows, columns) = ((rows as i32).max(1), (columns as i32).max(1));
        let height = if rows == columns { ((right - left) / columns).max(2) } else { (960 / rows).clamp(22, 52) };
        Self { left, right, top: HEAD, rows, columns, height }
    }

    /// Length of the colour scale.
    pub(crate) fn bar(&self) -> i32 {
        (self.right - self.left - 60).clamp(STEPS, 480) / STEPS * STEPS
    }

    /// Lower edge.
    pub(crate) fn bottom(&self) -> i32 {
        self.top + self.rows * self.height
    }

    /// The rectangle of a cell.
    pub(crate) fn cell(&self, row: usize, column: usize) -> Cell {
        let edge = |column: i32| self.left + column * (self.right - self.left) / self.columns;
        let (x, top) = (edge(column as i32), self.top + row as i32 * self.height);
        let gap = i32::from(self.columns <= 80);
        Cell { x, y: top, width: edge(column as i32 + 1) - x - gap, height: self.height - gap }
    }
}

/// One cell's rectangle.
pub(crate) struct Cell {
    /// Left edge.
    pub(crate) x: i32,
    /// Top edge.
    pub(crate) y: i32,
    /// Width.
    pub(crate) width: i32,
    /// Height.
    pub(crate) height: i32,
}

impl Cell {
    /// Its middle.
    pub(crate) fn middle(&self) -> (i32, i32) {
        (self.x + self.width / 2, self.y + self.height / 2)
    }

    /// The cell as a closed path.
    pub(crate) fn filled(&self) -> String {
        format!("M{} {}h{}v{}h-{}z", self.x, self.y, self.width, self.height, self.width)
    }

    /// Slanted lines through the cell.
    pub(crate) fn hatched(&self) -> String {
        let step = 14.min(self.width.min(self.height)).max(4);
        let (right, bottom) = (self.x + self.width, self.y + self.height);
        let line = |reach: i32| {
            let from = (self.x + reach.min(self.width), self.y + (reach - self.width).max(0));
            let to = (self.x + (reach - self.height).max(0), self.y + reach.min(self.height));
            format!("M{} {}L{} {}", from.0.min(right), from.1.min(bottom), to.0, to.1)
        };
        (step..self.width + self.height).step_by(step as usize).map(line).collect()
    }

    /// A cross in the middle of the cell.
    pub(crate) fn crossed(&self) -> String {
        let ((x, y), r) = (self.middle(), (self.width.min(self.height) / 2 - 2).clamp(2, 9));
        format!("M{} {}L{} {}M{} {}L{} {}", x - r, y - r, x + r, y + r, x - r, y + r, x + r, y - r)
    }
}
