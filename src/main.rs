//! The `slotd` command.

fn main() -> std::process::ExitCode {
    slotd::cli::main()
}
