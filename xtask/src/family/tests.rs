//! The real files, and a table of what can be wrong in one: `tests/problems.txt` and `tests/lock-problems.txt` show every
//! problem as its reader sees it.

mod cases;
mod real;
