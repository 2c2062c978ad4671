from django.db import connection
from django.http import HttpResponse
from django.urls import path


def home(request):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO visits DEFAULT VALUES")
        cursor.execute("SELECT count(*) FROM visits")
        return HttpResponse(f"visits: {cursor.fetchone()[0]}\n")


urlpatterns = [path("", home)]
