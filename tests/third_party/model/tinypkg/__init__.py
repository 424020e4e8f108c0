"""The class is called something else and lives in another file of the package."""
from tinypkg.core import Backbone
