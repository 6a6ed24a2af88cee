import json
import unittest

import sweep
import trial


class Sweep(unittest.TestCase):
    def test_there_are_twenty_runs_with_names_of_their_own(self):
        runs = sweep.parameters()
        lines = [sweep.arguments("s", run, True) for run in runs]
        ids = {line[line.index("--request-id") + 1] for line in lines}
        self.assertEqual((len(runs), len(ids)), (20, 20))
        for line in lines:
            self.assertLess(line.index("--gpus"), line.index("--"))
        self.assertNotIn("--gpus", sweep.arguments("s", runs[0], False))

    def test_the_smallest_loss_is_the_best_and_failures_do_not_count(self):
        def task(name, state, loss):
            data = json.dumps({"loss": loss})
            return {"name": name, "state": state, "result": {"text": data}}

        tasks = [task("a", "SUCCEEDED", 0.5), task("b", "FAILED", 0.1), task("c", "SUCCEEDED", 0.2)]
        self.assertEqual([task["name"] for _, task in sweep.best_of(tasks)], ["c", "a"])

    def test_parameters_matter(self):
        self.assertLess(trial.fit(0.3, 5), trial.fit(0.01, 1))
        self.assertEqual(trial.fit(100.0, 3), 1e6, "what flies apart is worst, and no crash")


if __name__ == "__main__":
    unittest.main()
