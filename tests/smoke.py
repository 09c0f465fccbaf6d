"""The shortest proof that the library works, with the standard library alone: python -m unittest tests.smoke"""

# ruff: noqa: PT009  (unittest's assertions are meant)

import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import torch

from tinygpt.contracts.generation import GenerateRequest
from tinygpt.data.examples import encode_examples
from tinygpt.data.rows import read_rows
from tinygpt.data.split import split_rows
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.inference.generator import CodeGenerator
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import collate
from tinygpt.training.config import TrainConfig
from tinygpt.training.loss import masked_loss
from tinygpt.training.run import train

CURATED = Path(__file__).resolve().parents[1] / "data" / "curated.jsonl"
CONFIG = TrainConfig(
    model=ModelConfig(context_length=256, layers=1, heads=2, width=64, dropout=0.0),
    batch_size=16,
    max_steps=150,
    max_seconds=None,
    evaluations=1,
    threads=1,
)


class Smoke(unittest.TestCase):
    """On every third curated row, and on one thread, whoever else computes meanwhile."""

    def setUp(self) -> None:
        torch.set_num_threads(1)
        self.rows = read_rows(CURATED)[::3]
        self.tokenizer = CharacterTokenizer.from_corpus(text for row in self.rows for text in (row.prompt, row.code))
        torch.manual_seed(0)
        self.model = TinyGPT(replace(CONFIG.model, vocab_size=self.tokenizer.vocab_size))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_the_tokenizer_gives_back_every_row(self) -> None:
        for row in self.rows:
            self.assertEqual(self.tokenizer.decode(self.tokenizer.encode(row.prompt)), row.prompt)
            self.assertEqual(self.tokenizer.decode(self.tokenizer.encode(row.code)), row.code)

    def test_one_training_step_lowers_the_loss_of_the_untrained_model(self) -> None:
        batch = collate(encode_examples(self.rows[:16], self.tokenizer, CONFIG.model.context_length))
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=CONFIG.learning_rate)

        before, labelled = masked_loss(self.model, batch)
        (before / labelled).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

        after, _ = masked_loss(self.model, batch)
        self.assertLess(after.item(), before.item())

    def test_save_and_load_give_identical_logits(self) -> None:
        self.model.eval()
        ids = torch.tensor([self.tokenizer.encode_prompt(self.rows[0].prompt)])
        save_checkpoint(Checkpoint(self.model, self.tokenizer), self.folder / "model.pt")

        loaded = load_checkpoint(self.folder / "model.pt")

        self.assertTrue(torch.equal(loaded.model(ids), self.model(ids)))
        self.assertEqual(loaded.tokenizer, self.tokenizer)

    def test_a_trained_model_answers_a_held_out_prompt(self) -> None:
        result = train(CONFIG, self.rows, folder=self.folder)
        best = load_checkpoint(result.best)
        generator = CodeGenerator(best.model, best.tokenizer, model_id="smoke")

        for row in split_rows(self.rows).held_out[:3]:
            answer = generator.generate(
                GenerateRequest(prompt=row.prompt, max_new_tokens=64, post_process=False, fallback="never")
            )
            self.assertEqual(answer.source, "model")
            self.assertTrue(answer.code.strip())


if __name__ == "__main__":
    unittest.main()
