//! The transform: a VRL program that is run on every log.

use vrl::compiler::Program;
use vrl::diagnostic::DiagnosticList;

/// Compiles a transform to see whether it does.
///
/// # Errors
/// With the line, the column and what is wrong, one line per fault.
pub fn check_transform(source: &str) -> Result<(), String> {
    compile(source).map(drop)
}

fn compile(source: &str) -> Result<Program, String> {
    match vrl::compiler::compile(source, &vrl::stdlib::all()) {
        Ok(compiled) => Ok(compiled.program),
        Err(faults) => Err(describe(source, &faults)),
    }
}

fn describe(source: &str, faults: &DiagnosticList) -> String {
    let lines: Vec<String> = faults
        .iter()
        .filter(|fault| fault.severity().is_error())
        .map(|fault| {
            let label = fault.labels().iter().find(|label| label.primary);
            let (line, column) = position(source, label.map_or(0, |label| label.span.start()));
            let detail = label.filter(|label| !label.message.is_empty()).map(|label| format!(" ({})", label.message));
            format!("line {line}, column {column}: {}{}", fault.message(), detail.unwrap_or_default())
        })
        .collect();
    lines.join("\n")
}

/// The line and column, both from 1, of a byte of a text.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
