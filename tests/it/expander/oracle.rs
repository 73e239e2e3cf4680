//! The independent expander, as a program that answers line by line.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// A running `tools/oracle/series.py`.
pub(super) struct Oracle {
    program: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    pub(super) fn start() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/oracle/run");
        let mut program =
            Command::new(path).arg("series.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (questions, answers) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        Self { program, questions, answers: BufReader::new(answers) }
    }

    /// When a series is busy, in seconds since 1970. `None` when the expander does not come to an end.
    pub(super) fn ask(&mut self, question: &Value) -> Option<Vec<[i64; 2]>> {
        writeln!(self.questions, "{question}").unwrap();
        self.questions.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no answer to {question}"));
        serde_json::from_value(answer["busy"].take()).ok()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}
