//! Answers as they come in, in all seven forms: three of version 1 and 2, four of version 0, which genuine proxies use for failures of
//! their own whatever the version is.

use tl::Boxed;
use tl::proxy::WorkerRequestPayment;

use super::{Action, CODE_PROTOCOL, FinalInfo, Session};
use crate::handshake::Statement;
use crate::http::ResponseHead;
use crate::{Error, tokens};

/// Bit of `flags`: the answer is complete.
const IS_COMPLETE: u32 = 1;

impl Session {
    pub(super) fn packet(&mut self, data: &[u8], out: &mut Vec<Action>) -> Result<(), Error> {
        use tl::client::{QueryAnswer, QueryAnswerEx, QueryAnswerPart};
        match tl::peek_id(data) {
            Some(QueryAnswerEx::ANSWER | QueryAnswerEx::PART | QueryAnswerEx::ERROR) => {
                self.extended(read(data, "client.queryAnswerEx")?, out);
            }
            Some(QueryAnswer::ANSWER | QueryAnswer::ERROR) => {
                self.plain(read(data, "client.queryAnswer")?, out);
            }
            Some(QueryAnswerPart::PART | QueryAnswerPart::ERROR) => {
                self.plain_part(read(data, "client.queryAnswerPart")?, out);
            }
            Some(WorkerRequestPayment::CLIENT) => {
                self.charged(read(data, "proxy.clientRequestPayment")?, out);
            }
            _ => {}
        }
        Ok(())
    }

    fn charged(&mut self, message: WorkerRequestPayment, out: &mut Vec<Action>) {
        if let WorkerRequestPayment::Client { request_id, signed_payment, db_tokens, max_tokens, request_tokens } =
            message
        {
            self.merge(
                Statement {
                    payment: signed_payment,
                    stored: db_tokens,
                    known: max_tokens,
                    request: Some((request_id, request_tokens)),
                },
                out,
            );
        }
    }

    fn extended(&mut self, answer: tl::client::QueryAnswerEx, out: &mut Vec<Action>) {
        use tl::client::QueryAnswerEx as Answer;
        match answer {
            Answer::Answer { request_id, answer, flags, final_info } => {
                if self.head(request_id, &answer, out) && flags & IS_COMPLETE != 0 {
                    self.done(request_id, final_info.map(info_of), out);
                }
            }
            Answer::Part { request_id, answer, flags, final_info } => {
                if self.part(request_id, answer, out) && flags & IS_COMPLETE != 0 {
                    self.done(request_id, final_info.map(info_of), out);
                }
            }
            Answer::Error { request_id, error_code, error, .. } => self.failed(request_id, error_code, error, out),
        }
    }

    fn plain(&mut self, answer: tl::client::QueryAnswer, out: &mut Vec<Action>) {
        use tl::client::QueryAnswer as Answer;
        match answer {
            Answer::Answer { answer, is_completed, request_id, request_tokens_used } => {
                if self.head(request_id, &answer, out) && is_completed {
                    self.done(request_id, Some(counts_only(&request_tokens_used)), out);
                }
            }
            Answer::Error { error_code, error, request_id, .. } => self.failed(request_id, error_code, error, out),
        }
    }

    fn plain_part(&mut self, answer: tl::client::QueryAnswerPart, out: &mut Vec<Action>) {
        use tl::client::QueryAnswerPart as Answer;
        match answer {
            Answer::Part { answer, is_completed, request_id, request_tokens_used } => {
                if self.part(request_id, answer, out) && is_completed {
                    self.done(request_id, Some(counts_only(&request_tokens_used)), out);
                }
            }
            Answer::Error { error_code, error, request_id, .. } => self.failed(request_id, error_code, error, out),
        }
    }

    /// Whether the request goes on.
    fn head(&mut self, id: [u8; 32], answer: &[u8], out: &mut Vec<Action>) -> bool {
        let Some(waiting) = self.waiting.get_mut(&id) else {
            return false;
        };
        if waiting.has_head {
            self.broken(id, "two answers to one request", out);
            return false;
        }
        waiting.has_head = true;
        match ResponseHead::decode(answer) {
            Ok((head, body)) if head.is_sound() => {
                out.push(Action::Head { id, head });
                if !body.is_empty() {
                    out.push(Action::Part { id, bytes: body });
                }
                true
            }
            _ => {
                self.broken(id, "an answer that is not HTTP", out);
                false
            }
        }
    }

    /// Whether the request goes on.
    fn part(&mut self, id: [u8; 32], bytes: Vec<u8>, out: &mut Vec<Action>) -> bool {
        let Some(waiting) = self.waiting.get(&id) else {
            return false;
        };
        if !waiting.has_head {
            self.broken(id, "a part before the answer", out);
            return false;
        }
        if !bytes.is_empty() {
            out.push(Action::Part { id, bytes });
        }
        true
    }

    fn done(&mut self, id: [u8; 32], info: Option<FinalInfo>, out: &mut Vec<Action>) {
        if self.waiting.remove(&id).is_some() {
            out.push(Action::Done { id, info: info.unwrap_or_default() });
        }
    }

    fn broken(&mut self, id: [u8; 32], words: &str, out: &mut Vec<Action>) {
        self.failed(id, CODE_PROTOCOL, words.to_owned(), out);
    }

    fn failed(&mut self, id: [u8; 32], code: i32, message: String, out: &mut Vec<Action>) {
        if self.waiting.remove(&id).is_some() {
            out.push(Action::Failed { id, code, message });
        }
    }
}

fn info_of(info: tl::client::QueryFinalInfo) -> FinalInfo {
    FinalInfo {
        tokens: Some(tokens::from_wire(&info.tokens_used)),
        worker_debug: info.worker_debug,
        proxy_debug: info.proxy_debug,
        proxy_times: info.proxy_start_time.zip(info.proxy_end_time),
        worker_times: info.worker_start_time.zip(info.worker_end_time),
    }
}

fn counts_only(used: &tl::TokensUsed) -> FinalInfo {
    FinalInfo { tokens: Some(tokens::from_wire(used)), ..FinalInfo::default() }
}

fn read<T: Boxed>(data: &[u8], what: &'static str) -> Result<T, Error> {
    T::from_bytes(data).map_err(|_| Error::Malformed { what })
}
