"""One line of a SuperGLUE file, as the examples that it holds."""

import re
import reprlib
from collections.abc import Callable
from typing import Any

from hopfield_attn.data.examples import CandidateQuestion, ChoiceQuestion, Span, SpanPair
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.json_fields import JsonObject, read_class, read_field, read_objects
from hopfield_attn.data.superglue_tasks import SuperGlueTask

PLACEHOLDER = "@placeholder"
"""Stands for the answer in a query of ReCoRD."""

_LONGEST_SPAN = 500
_HIGHLIGHT = "@highlight"
_COPA_QUESTIONS = {"cause": "What was the cause?", "effect": "What happened as a result?"}


def parse_pair(row: JsonObject, task: SuperGlueTask, *, labelled: bool) -> list[Example]:
    """BoolQ, CB and RTE: two columns of text."""
    first, second = (read_field(row, name, str).strip() for name in task.columns or ())
    return [Example(first, second, _label(row, task, labelled=labelled))]


def parse_copa(row: JsonObject, task: SuperGlueTask, *, labelled: bool) -> list[ChoiceQuestion]:
    """COPA: the likelier cause or effect of a premise."""
    premise, first, second = (
        read_field(row, name, str).strip() for name in ("premise", "choice1", "choice2")
    )
    asked = tuple(_COPA_QUESTIONS)[read_class(row, "question", tuple(_COPA_QUESTIONS))]
    label = _label(row, task, labelled=labelled)
    return [ChoiceQuestion(premise, _COPA_QUESTIONS[asked], (first, second), label)]


def parse_wic(row: JsonObject, task: SuperGlueTask, *, labelled: bool) -> list[SpanPair]:
    """WiC: does a word mean the same in two sentences?"""
    texts = [read_field(row, f"sentence{k}", str) for k in (1, 2)]
    spans = [_wic_span(row, k, texts[k - 1]) for k in (1, 2)]
    label = _label(row, task, labelled=labelled)
    return [SpanPair(texts[0], spans[0], texts[1], spans[1], label)]


def parse_wsc(row: JsonObject, task: SuperGlueTask, *, labelled: bool) -> list[SpanPair]:
    """WSC: does a pronoun refer to a noun phrase of the same text?"""
    text = read_field(row, "text", str)
    target = read_field(row, "target", dict)
    first, second = (_wsc_span(target, k, text) for k in (1, 2))
    return [SpanPair(text, first, None, second, _label(row, task, labelled=labelled))]


def parse_multirc(
    row: JsonObject, task: SuperGlueTask, *, labelled: bool
) -> list[CandidateQuestion]:
    """MultiRC: questions on a passage with any number of right answers."""
    passage = read_field(row, "passage", dict)
    text = read_field(passage, "text", str, inside="passage").strip()
    questions = []
    for place, entry in read_objects(passage, "questions", inside="passage"):
        answers = read_objects(entry, "answers", inside=place)
        if not answers:
            raise ValueError(f"column {place}.answers: expected at least one answer, got none")
        labels = tuple(
            read_class(answer, "label", task.file_labels, inside=inside)
            for inside, answer in answers
            if labelled
        )
        questions.append(
            CandidateQuestion(
                passage=text,
                query=read_field(entry, "question", str, inside=place).strip(),
                candidates=tuple(
                    read_field(answer, "text", str, inside=inside).strip()
                    for inside, answer in answers
                ),
                labels=labels if labelled else None,
            )
        )
    return questions


def parse_record(
    row: JsonObject, task: SuperGlueTask, *, labelled: bool
) -> list[CandidateQuestion]:
    """ReCoRD: which entity of a passage fills the gap in a sentence about it?"""
    passage = read_field(row, "passage", dict)
    text = read_field(passage, "text", str, inside="passage")
    entities = tuple(
        # The end is the last character's, not the one after.
        text[slice(*_span(entry, "start", "end", text, after_end=1, inside=place))]
        for place, entry in read_objects(passage, "entities", inside="passage")
    )
    candidates = tuple(dict.fromkeys(entities))
    if not candidates:
        raise ValueError("column passage.entities: expected at least one entity, got none")
    questions = []
    for place, entry in read_objects(row, "qas"):
        query = read_field(entry, "query", str, inside=place).strip()
        if PLACEHOLDER not in query:
            raise ValueError(f"column {place}.query: no {PLACEHOLDER} in {reprlib.repr(query)}")
        found = read_objects(entry, "answers", inside=place) if labelled else []
        if labelled and not found:
            raise ValueError(f"column {place}.answers: expected at least one answer, got none")
        answers = tuple(read_field(answer, "text", str, inside=inside) for inside, answer in found)
        labels = tuple(int(candidate in answers) for candidate in candidates)
        shown = " ".join(text.replace(_HIGHLIGHT, " ").split())
        questions.append(
            CandidateQuestion(shown, query, candidates, labels if labelled else None, answers)
        )
    return questions


PARSERS: dict[str, Callable[..., list[Any]]] = {
    "boolq": parse_pair,
    "cb": parse_pair,
    "copa": parse_copa,
    "multirc": parse_multirc,
    "record": parse_record,
    "rte": parse_pair,
    "wic": parse_wic,
    "wsc": parse_wsc,
}
"""Task → (row, task, labelled) → the examples of the row."""


def _label(row: JsonObject, task: SuperGlueTask, *, labelled: bool) -> int | None:
    return read_class(row, "label", task.file_labels) if labelled else None


def _span(
    row: JsonObject, start_name: str, end_name: str, text: str, *, after_end: int, inside: str = ""
) -> Span:
    start = read_field(row, start_name, int, inside=inside)
    end = read_field(row, end_name, int, inside=inside) + after_end
    if not 0 <= start < end <= len(text):
        column = f"{inside}.{start_name}" if inside else start_name
        raise ValueError(
            f"column {column}: expected 0 <= start < end <= {len(text)}, got {start} and {end}"
        )
    return start, end


def _wic_span(row: JsonObject, number: int, text: str) -> Span:
    return _span(row, f"start{number}", f"end{number}", text, after_end=0)


def _wsc_span(target: JsonObject, number: int, text: str) -> Span:
    """The occurrence of the span's text that is nearest to the word that the file counts to.

    In some official rows the index is a few words off, or counts the gaps of double spaces.
    """
    words = [match.start() for match in re.finditer(r"\S+", text)]
    index = read_field(target, f"span{number}_index", int, inside="target")
    if not 0 <= index < len(words):
        raise ValueError(
            f"column target.span{number}_index: expected one of the {len(words)} words, got {index}"
        )
    span_text = read_field(target, f"span{number}_text", str, inside="target")
    if len(span_text) > _LONGEST_SPAN:
        raise ValueError(
            f"column target.span{number}_text: expected {_LONGEST_SPAN} characters at most, "
            f"got {len(span_text)}"
        )
    pattern = r"\s+".join(re.escape(word) for word in span_text.split())
    whole = re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)
    found = [match.span() for match in whole.finditer(text)] if pattern else []
    if not found:
        raise ValueError(
            f"column target.span{number}_text: {reprlib.repr(span_text)} is not in the text"
        )
    return min(found, key=lambda span: abs(span[0] - words[index]))
