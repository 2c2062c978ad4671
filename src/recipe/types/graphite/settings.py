
# What the recipe of `type: graphite` adds.
TIME_ZONE = "[[ .Container.GetCustomValue "timeZone" ]]"
ALLOWED_HOSTS = ["*"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
with open("/var/lib/graphite/secret") as file:
    SECRET_KEY = file.read()
