"""Configuration of a search that may be done several times."""

from dataclasses import dataclass, fields

from fpnas.checks import check_ranges
from fpnas.run_options import SEED_RANGE
from fpnas.search_config import SearchConfig

__all__ = ["MOST_RESTARTS", "RestartsConfig"]

MOST_RESTARTS = 1000


@dataclass
class RestartsConfig(SearchConfig):
    """What `fpnas search` is given: as `SearchConfig`, and how often to search.

    Attributes:
        restarts: searches that differ in their seeds alone, of which a short training of each, as `fpnas select` does
            it, takes the best. Those of seed S and N restarts have the seeds from S x N on.
        select_config: YAML file or built-in recipe of the short trainings, as `fpnas select --config` takes it; when
            left out, its defaults. Data, image size and what does not change a result are those of the search,
            `max_images` is not: a network is chosen by all images, unless the file says otherwise.
    """

    restarts: int = 1
    select_config: str | None = None

    def validate(self) -> None:
        """Raises UserError as `SearchConfig.validate` does, and for numbers of restarts that there cannot be."""
        super().validate()
        check_ranges(self, restarts=(1, MOST_RESTARTS))
        check_ranges(self, seed=(0, (SEED_RANGE[1] + 1) // self.restarts - 1))  # of the last one

    def one(self) -> SearchConfig:
        """That of a single search."""
        return SearchConfig(**{field.name: getattr(self, field.name) for field in fields(SearchConfig)})
