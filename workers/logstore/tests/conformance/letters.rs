//! Dead letters.

use bytes::Bytes;
use taffrail_logstore::{
    CountedAs, DeadLetter, DeadLetters, LetterFilter, LetterGroup, LetterHead, LetterPage, LetterRequest, Provenance,
    SearchError, TimeSpan, WriteError,
};

use super::support::NOON;
use crate::support::Scratch;

pub fn letter(pipeline: &str, offset: i64, original: &'static [u8]) -> DeadLetter {
    DeadLetter {
        id: format!("logs-0-{offset}"),
        reason: "it is \"no\" JSON".into(),
        status: 400,
        provenance: Provenance {
            pipeline: pipeline.into(),
            generation: 3,
            topic: "logs".into(),
            partition: 7,
            offset,
            timestamp: NOON + offset,
        },
        counted_as: None,
        original: Bytes::from_static(original),
    }
}

pub fn request(pipeline: &str, limit: usize) -> LetterRequest {
    LetterRequest { pipeline: pipeline.to_owned(), filter: LetterFilter::default(), limit, cursor: None }
}

/// The letters of a pipeline with their records, newest first.
pub async fn letters(store: &impl DeadLetters, pipeline: &str) -> Vec<DeadLetter> {
    let page = store.dead_letters(&request(pipeline, 100)).await.unwrap();
    let ids: Vec<String> = page.letters.iter().map(|letter| letter.id.clone()).collect();
    let mut whole = store.whole_dead_letters(pipeline, &ids).await.unwrap();
    whole.sort_by(|one, other| (other.provenance.timestamp, &other.id).cmp(&(one.provenance.timestamp, &one.id)));
    assert_eq!(whole.iter().map(LetterHead::of).collect::<Vec<_>>(), page.letters);
    whole
}

fn ids(page: &LetterPage) -> Vec<&str> {
    page.letters.iter().map(|letter| letter.id.as_str()).collect()
}

fn group(cause: &str, status: u16, count: u64) -> LetterGroup {
    LetterGroup { cause: cause.to_owned(), status, count }
}

#[tokio::test]
async fn letters_come_back_byte_for_byte_newest_first_and_once() {
    let scratch = Scratch::new("letters");
    let letters = [
        letter("shop/web", 1, b"{\"broken\": "),
        letter("shop/web", 2, b"\xff\xfe\x00binary\n"),
        letter("shop/other", 3, b"x"),
        letter("shop/web", 4, b""),
        letter("shop/web", 5, b"{\"a\":1}"),
    ];
    scratch.store.write_dead_letters(&letters).await.unwrap();
    scratch.store.write_dead_letters(&letters[..2]).await.unwrap();
    scratch.settle().await;
    let found = self::letters(&scratch.store, "shop/web").await;
    assert_eq!(found, [letters[4].clone(), letters[3].clone(), letters[1].clone(), letters[0].clone()]);
    let page = scratch.store.dead_letters(&request("shop/web", 1)).await.unwrap();
    assert_eq!((ids(&page), page.total), (vec!["logs-0-5"], 4));
    // They are no logs.
    assert!(scratch.find("*").await.is_empty());
}

#[tokio::test]
async fn many_large_letters_are_kept() {
    let scratch = Scratch::new("large-letters");
    let large: &'static [u8] = vec![b'x'; 3 << 20].leak();
    let letters: Vec<_> = (0..6).map(|offset| letter("a/b", offset, large)).collect();
    scratch.store.write_dead_letters(&letters).await.unwrap();
    scratch.settle().await;
    let found = self::letters(&scratch.store, "a/b").await;
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|letter| letter.original.len() == 3 << 20));
}

#[tokio::test]
async fn a_second_letter_replaces_the_first() {
    let scratch = Scratch::new("replaced");
    let first = letter("a/b", 1, b"one");
    let second = DeadLetter { reason: "now it is worse".into(), status: 0, ..letter("a/b", 1, b"two") };
    scratch.store.write_dead_letters(&[first, letter("a/b", 2, b"x")]).await.unwrap();
    scratch.store.write_dead_letters(std::slice::from_ref(&second)).await.unwrap();
    scratch.settle().await;
    assert_eq!(letters(&scratch.store, "a/b").await, [letter("a/b", 2, b"x"), second]);
}

#[tokio::test]
async fn a_letter_without_an_id_is_refused() {
    let scratch = Scratch::new("nameless");
    let nameless = DeadLetter { id: String::new(), ..letter("a/b", 1, b"x") };
    let error = scratch.store.write_dead_letters(&[nameless]).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused(_)), "{error}");
}

#[tokio::test]
async fn letters_are_found_by_reason_status_and_time_and_counted_by_kind() {
    let scratch = Scratch::new("letter-filters");
    let of = |offset, status, reason: &str| DeadLetter { reason: reason.into(), status, ..letter("a/b", offset, b"x") };
    let kept = [
        of(1, 0, "not JSON: expected value at line 1 column 3"),
        of(2, 0, "not JSON: expected value at line 7 column 1"),
        of(3, 400, "failed to parse field [fields.n] with id 'a*b'"),
        of(4, 400, "failed to parse field [fields.n] with id 'c'"),
        of(5, 413, "failed to parse field [fields.n] with id 'd'"),
        DeadLetter { id: "other".into(), ..letter("a/other", 6, b"x") },
    ];
    scratch.store.write_dead_letters(&kept).await.unwrap();
    scratch.settle().await;
    let find = async |filter: LetterFilter| {
        scratch.store.dead_letters(&LetterRequest { filter, ..request("a/b", 10) }).await.unwrap()
    };
    let json = "not JSON: expected value at line # column #";
    let field = "failed to parse field [fields.n] with id '…'";

    let all = find(LetterFilter::default()).await;
    assert_eq!(all.groups, [group(field, 400, 2), group(json, 0, 2), group(field, 413, 1)]);
    assert_eq!((all.total, all.cursor), (5, None));
    assert_eq!(all.letters[0], LetterHead::of(&kept[4]));

    let reason = |text: &str| LetterFilter { reason: Some(text.into()), ..LetterFilter::default() };
    assert_eq!(ids(&find(reason("[fields.n]")).await), ["logs-0-5", "logs-0-4", "logs-0-3"]);
    assert_eq!(ids(&find(reason(&kept[0].reason)).await), ["logs-0-2", "logs-0-1"], "numbers are of one record");
    assert_eq!(ids(&find(reason("field*")).await), [""; 0], "what is written is meant as it is");
    let status = find(LetterFilter { status: Some(400), ..LetterFilter::default() }).await;
    assert_eq!((ids(&status), &status.groups), (vec!["logs-0-4", "logs-0-3"], &vec![group(field, 400, 2)]));
    let span = TimeSpan { from: Some(NOON + 2), to: Some(NOON + 4) };
    let both = find(LetterFilter { span, ..reason("JSON") }).await;
    assert_eq!((ids(&both), both.total), (vec!["logs-0-2"], 1));
}

#[tokio::test]
async fn pages_of_letters_follow_one_another() {
    let scratch = Scratch::new("letter-pages");
    // Several of one millisecond, and one page that ends between them.
    let kept: Vec<_> = (0..7)
        .map(|n| {
            let mut letter = letter("a/b", n / 3, b"x");
            letter.id = format!("id-{n}");
            letter
        })
        .collect();
    scratch.store.write_dead_letters(&kept).await.unwrap();
    scratch.settle().await;
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = scratch.store.dead_letters(&LetterRequest { cursor, ..request("a/b", 2) }).await.unwrap();
        assert_eq!(page.total, 7);
        assert!(page.letters.len() <= 2);
        found.extend(page.letters.into_iter().map(|letter| letter.id));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, ["id-6", "id-5", "id-4", "id-3", "id-2", "id-1", "id-0"]);
    let rubbish = LetterRequest { cursor: Some("?".into()), ..request("a/b", 2) };
    assert!(matches!(scratch.store.dead_letters(&rubbish).await, Err(SearchError::Cursor)));
}

#[tokio::test]
async fn what_is_removed_or_replaced_is_so_at_once() {
    let scratch = Scratch::new("letter-removal");
    let kept: Vec<_> = (0..4).map(|offset| letter("a/b", offset, b"x")).collect();
    scratch.store.write_dead_letters(&kept).await.unwrap();
    let marked = DeadLetter { counted_as: Some(CountedAs { source: "run".into(), offset: 7 }), ..kept[2].clone() };
    scratch.store.replace_dead_letters(std::slice::from_ref(&marked)).await.unwrap();
    let gone = ["logs-0-1".to_owned(), "logs-0-3".to_owned(), "never there".to_owned()];
    scratch.store.remove_dead_letters("a/b", &gone).await.unwrap();
    assert_eq!(letters(&scratch.store, "a/b").await, [marked, kept[0].clone()]);
    scratch.store.remove_dead_letters("a/b", &gone).await.unwrap();
    scratch.store.remove_dead_letters("a/b", &[]).await.unwrap();
    assert_eq!(letters(&scratch.store, "a/b").await.len(), 2);
}

#[tokio::test]
async fn where_nothing_was_kept_there_is_nothing() {
    let scratch = Scratch::new("no-letters");
    assert_eq!(scratch.store.dead_letters(&request("a/b", 10)).await.unwrap(), LetterPage::default());
    assert_eq!(scratch.store.whole_dead_letters("a/b", &["x".to_owned()]).await.unwrap(), []);
    scratch.store.remove_dead_letters("a/b", &["x".to_owned()]).await.unwrap();
}
