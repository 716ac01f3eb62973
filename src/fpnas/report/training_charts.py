"""Charts of one training."""

from fpnas.report.charts import Chart, axes, column, line, panels
from fpnas.report.runs import ReportedRun

__all__ = ["training_charts"]


def training_charts(run: ReportedRun) -> list[Chart]:
    """Charts of one training, those whose figures are there."""
    charts = [_accuracy(run), _loss_and_rate(run)]
    return [chart for chart in charts if chart is not None]


def _accuracy(run: ReportedRun) -> Chart | None:
    epochs, accuracy = column(run, run.epochs, "test_top1")
    if not epochs:
        return None
    _, top5 = column(run, run.epochs, "test_top5")
    five = f"; {top5[-1]:.2f}% have their class among the five most probable" if top5 else ""
    best = max(accuracy)
    return Chart(
        f"Accuracy on the {run.judged_by}, epoch by epoch",
        f"{accuracy[0]:.2f}% after epoch {epochs[0]}, {accuracy[-1]:.2f}% after epoch {epochs[-1]}{five}. Highest: "
        f"{best:.2f}% after epoch {epochs[accuracy.index(best)]}.",
        [line("top-1, %", epochs, accuracy, mode="lines+markers")],
        axes("epoch", "accuracy, %", from_zero=False),
    )


def _loss_and_rate(run: ReportedRun) -> Chart | None:
    epochs, loss = column(run, run.epochs, "loss")
    places, rate = column(run, run.epochs, "learning_rate")
    if not epochs or not places:
        return None
    return Chart(
        "Loss on the training images, and the learning rate",
        f"The loss, a mean over every epoch, goes from {loss[0]:.3f} to {loss[-1]:.3f} nats; the rate, at the end of "
        f"every epoch, from {rate[0]:.3g} to {rate[-1]:.3g}.",
        [
            line("loss, nats", epochs, loss, mode="lines+markers", showlegend=False),
            line("learning rate", places, rate, mode="lines+markers", yaxis="y2", showlegend=False),
        ],
        panels("epoch", "loss, nats", "learning rate"),
    )
