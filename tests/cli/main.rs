//! The program `ctx0-schema` as its users run it: from scripts, and on a real terminal.

mod files;
mod fleet;
mod pictures;
mod scripts;
mod support;
mod terminals;
