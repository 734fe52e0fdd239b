//! Labels as Loki writes them: `{app="shop", namespace="prod"}`.

use crate::source::http::refusal::Refusal;

/// Reads labels.
pub(in crate::source::http) fn read(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    parse(text.trim()).ok_or_else(|| {
        let start: String = text.chars().take(200).collect();
        Refusal::Broken(format!("`{start}` are no labels"))
    })
}

fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.strip_prefix('{')?.trim_start();
    let mut labels = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix('}') {
            return end.is_empty().then_some(labels);
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || name.contains(['"', '{', '}', ',']) {
            return None;
        }
        let (value, after) = quoted(after.trim_start())?;
        labels.push((name.to_owned(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.starts_with('}') => after,
            None => return None,
        };
    }
}

/// A text in quotes with Go's escapes, or in backticks without any; and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, rest) = raw.split_once('`')?;
        return Some((value.to_owned(), rest));
    }
    let mut value = Vec::new();
    let mut rest = text.strip_prefix('"')?.chars();
    loop {
        match rest.next()? {
            // Bytes may have been escaped one by one.
            '"' => return Some((String::from_utf8_lossy(&value).into_owned(), rest.as_str())),
            '\\' => {
                let plain = match rest.next()? {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    same @ ('\\' | '"' | '\'') => same,
                    'u' => char::from_u32(hex(&mut rest, 4)?)?,
                    'U' => char::from_u32(hex(&mut rest, 8)?)?,
                    'x' => {
                        value.push(u8::try_from(hex(&mut rest, 2)?).ok()?);
                        continue;
                    }
                    _ => return None,
                };
                value.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
            }
            plain => value.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn hex(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0_u32, |number, _| Some(number << 4 | rest.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_read() {
        let labels = |text| read(text).ok();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(labels("{}"), Some(vec![]));
        assert_eq!(labels(r#"{app="shop", env="a,b}" }"#), Some(vec![pair("app", "shop"), pair("env", "a,b}")]));
        assert_eq!(
            labels(r#"{path="C:\\logs",quote="\"\n\u00e9\xc3\xa9\U0001F600",}"#),
            Some(vec![pair("path", r"C:\logs"), pair("quote", "\"\néé😀")])
        );
        assert_eq!(labels(r"{a=`\d`}"), Some(vec![pair("a", r"\d")]));
        for wrong in
            ["", "{", "{a}", "{a=b}", r#"{a="b""#, r#"{a="b"} c"#, r#"{="b"}"#, r#"{a="\q"}"#, r#"{a="b" c="d"}"#]
        {
            assert_eq!(labels(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn quoted_values_come_back(values in prop::collection::vec("\\PC{0,20}", 0..5)) {
            let quote = |value: &String| value.replace('\\', "\\\\").replace('"', "\\\"");
            let text: Vec<String> = values.iter().enumerate().map(|(n, value)| format!("l{n}=\"{}\"", quote(value))).collect();
            let read = read(&format!("{{{}}}", text.join(", "))).map_err(|error| error.to_string());
            prop_assert_eq!(read.map(|labels| labels.into_iter().map(|label| label.1).collect::<Vec<_>>()), Ok(values));
        }

        #[test]
        fn no_text_is_too_much(text in "\\PC{0,60}") {
            let _ = read(&text);
        }
    }
}
