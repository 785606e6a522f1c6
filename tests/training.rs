//! The parts of training inside a network, against PyTorch.

#[path = "training/random.rs"]
mod random;
