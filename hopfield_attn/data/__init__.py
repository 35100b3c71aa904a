"""Data as numpy arrays: documents, tokens, task readers, and batches as a function of (seed, step).

Nothing here imports the rest of the library but its checks; import the module that is needed:

* ``corpus``, ``embedded``: text to a list of documents, and its split by content.
* ``tokenizer``: byte-level BPE and the ids of the special tokens.
* ``masking``, ``baselines``: rows for masked-language modelling, and what counting alone scores.
* ``glue``, ``glue_encoding``: the GLUE tasks from their TSV files.
* ``superglue``, ``choice_encoding``, ``span_encoding``, ``candidate_encoding``: the SuperGLUE tasks
  from their JSON lines.
* ``squad``, ``qa_encoding``, ``qa_decoding``: spans of a context as answers, from text to windows
  of tokens and back.
* ``quality``, ``scrolls``, ``window_encoding``: long documents, whole or in windows.
* ``synthetic``, ``synthetic_tasks``: generated tasks with known source tokens: ``recall``,
  ``induction``, ``match``, ``retrieval``, ``brackets``.
* ``source``, ``batches``: random-access examples, and the order in which training sees them.
"""
