//! The command line as users meet it: every test runs the built `coppice` and looks at its exit code, its two streams and its files.

mod bad_checkpoints;
mod bad_input;
mod bad_recipes;
mod calibrating;
mod detecting;
mod full_disk;
mod help;
mod inference;
mod inspecting;
mod interruption;
mod killing;
mod launching;
mod learning;
mod merging;
mod output_closed;
mod pulling;
mod real_text;
mod running;
mod shipped_recipes;
mod starting;
mod support;
mod training;
mod upcycling;
mod upcycling_methods;
