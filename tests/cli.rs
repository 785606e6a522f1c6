//! The built program with hostile and odd input: what it says, how it exits, what it leaves behind.

// Signals, pipes, links and most of the names here are Unix's.
#![cfg(unix)]

mod common;

mod cli {
    pub mod support;

    mod abstain;
    mod arguments;
    mod audit;
    mod audited;
    mod baked;
    mod beginning;
    mod browser;
    mod cache;
    mod compare;
    mod datasets;
    mod device;
    mod ends;
    mod engines;
    mod evidence;
    mod explain;
    mod graphs;
    mod groups;
    mod heads;
    mod inside;
    mod inspect;
    mod interrupts;
    mod models;
    mod named;
    mod names;
    mod new;
    mod obstacles;
    mod outputs;
    mod pages;
    mod parts;
    mod pictured;
    mod rank;
    mod ready;
    mod recipes;
    mod report;
    mod resume;
    mod shown;
    mod skipped;
    mod tasks;
    mod terminal;
}
