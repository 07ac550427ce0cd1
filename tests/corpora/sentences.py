"""What guests write, in eight languages: sentences of our own, with places for what is put into them."""

from __future__ import annotations

#: What stands before and behind a sentence; the empty one more often.
AROUND: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (("", "", "Hello, ", "Hi there! ", "Good morning. "), ("", "", " Thanks!", " Can you check, please?", " 🙂")),
    "de": (("", "", "Guten Tag, ", "Hallo! ", "Moin. "), ("", "", " Danke schön!", " Können Sie das prüfen?", " 🙏")),
    "fr": (
        ("", "", "Bonjour, ", "Bonsoir ! ", "Madame, Monsieur, "),
        ("", "", " Merci !", " Pouvez-vous vérifier ?", " 😊"),
    ),
    "es": (
        ("", "", "Hola, ", "¡Buenos días! ", "Buenas tardes. "),
        ("", "", " ¡Gracias!", " ¿Lo pueden mirar?", " 👍"),
    ),
    "it": (("", "", "Buongiorno, ", "Salve! ", "Ciao. "), ("", "", " Grazie!", " Potete controllare?", " 🙂")),
    "pt": (("", "", "Olá, ", "Bom dia! ", "Boa tarde. "), ("", "", " Obrigado!", " Podem verificar?", " 🙏")),
    "nl": (("", "", "Hallo, ", "Goedemorgen! ", "Dag. "), ("", "", " Bedankt!", " Kunt u dat nakijken?", " 😀")),
    "pl": (("", "", "Dzień dobry, ", "Cześć! ", "Witam. "), ("", "", " Dziękuję!", " Czy można to sprawdzić?", " 🙂")),
}
#: Where those who write so are at home.
REGIONS = {"en": "US", "de": "DE", "fr": "FR", "es": "ES", "it": "IT", "pt": "PT", "nl": "NL", "pl": "PL"}

#: Sentences that hold nothing personal, by what is put into them.
BENIGN: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "order": (
            "where is my order {}? It should have come on Tuesday.",
            "I want to return order no. {}, it is too small.",
        ),
        "id": ("the app shows an error with the reference {}.", "your log says {} and then nothing happens."),
        "price": ("I was charged {} although the offer said {}.", "is {} the price with tax?"),
        "when": ("the technician was to come on {} at {}.", "my booking is for {}, can we move it to {}?"),
        "bank": ("I have sent the money to {}, as it says on the invoice.", "is {} still your account for refunds?"),
        "parcel": ("the parcel {} has not moved for a week.", "tracking number {} is unknown to the carrier."),
        "code": ("I sent STOP to {} and still get messages.", "the code {} does not work, it says it has expired."),
        "version": ("since the update to {} the screen stays black.", "I run version {} on an older phone."),
        "link": ("the page {} shows an empty basket.", "I found it here: {} but cannot order it."),
        "book": ("do you have the book with ISBN {} in stock?", "the label says EAN {}, is that the new model?"),
        "car": ("I parked my car {} in your garage and lost the ticket.", "the plate on the contract should be {}."),
        "part": ("I need a spare part for {}, size {}.", "does {} fit into the frame of {}?"),
        "plain": ("nobody has called me back since last week.", "how can I change the address of my delivery?"),
    },
    "de": {
        "order": (
            "wo bleibt meine Bestellung {}? Sie sollte am Dienstag kommen.",
            "ich möchte die Bestellnummer {} zurückgeben.",
        ),
        "id": (
            "die App meldet einen Fehler mit der Kennung {}.",
            "im Protokoll steht {} und dann passiert nichts mehr.",
        ),
        "price": ("mir wurden {} abgebucht, im Angebot standen {}.", "ist {} der Preis mit Mehrwertsteuer?"),
        "when": ("der Techniker sollte am {} um {} kommen.", "mein Termin ist {}, geht auch {}?"),
        "bank": ("ich habe das Geld an {} überwiesen.", "stimmt die Kontoverbindung {} noch?"),
        "parcel": ("das Paket {} bewegt sich seit einer Woche nicht.", "die Sendungsnummer {} ist unbekannt."),
        "code": ("ich habe STOP an {} geschickt und bekomme weiter Nachrichten.", "der Code {} geht nicht."),
        "version": (
            "seit dem Update auf {} bleibt der Bildschirm schwarz.",
            "ich habe Version {} auf einem alten Gerät.",
        ),
        "link": ("die Seite {} zeigt einen leeren Warenkorb.", "gefunden habe ich es hier: {}"),
        "book": ("haben Sie das Buch mit der ISBN {} da?", "auf dem Etikett steht EAN {}, ist das das neue Modell?"),
        "car": ("mein Auto {} steht bei Ihnen in der Garage.", "das Kennzeichen im Vertrag muss {} heißen."),
        "part": ("ich brauche ein Ersatzteil für {}, Größe {}.", "passt {} in den Rahmen von {}?"),
        "plain": ("seit letzter Woche hat sich niemand gemeldet.", "wie ändere ich meine Lieferadresse?"),
    },
    "fr": {
        "order": (
            "où est ma commande {} ? Elle devait arriver mardi.",
            "je voudrais rendre la commande n° {}, trop petite.",
        ),
        "id": ("l'application affiche une erreur, référence {}.", "le journal indique {} puis plus rien."),
        "price": ("on m'a prélevé {} alors que l'offre était à {}.", "est-ce que {} est le prix TTC ?"),
        "when": ("le technicien devait passer le {} à {}.", "mon rendez-vous est le {}, peut-on le mettre à {} ?"),
        "bank": ("j'ai viré l'argent sur {}, comme sur la facture.", "le compte {} est-il toujours valable ?"),
        "parcel": ("le colis {} ne bouge plus depuis une semaine.", "le numéro de suivi {} est inconnu."),
        "code": ("j'ai envoyé STOP au {} et je reçois encore des messages.", "le code {} ne marche pas."),
        "version": ("depuis la mise à jour {} l'écran reste noir.", "j'ai la version {} sur un vieux modèle."),
        "link": ("la page {} montre un panier vide.", "je l'ai trouvé ici : {}"),
        "book": ("avez-vous le livre ISBN {} en stock ?", "l'étiquette indique EAN {}, est-ce le nouveau ?"),
        "car": ("ma voiture {} est dans votre parking.", "la plaque du contrat doit être {}."),
        "part": ("il me faut une pièce pour {}, taille {}.", "est-ce que {} va dans le cadre de {} ?"),
        "plain": ("personne ne m'a répondu depuis la semaine dernière.", "comment changer mon adresse de livraison ?"),
    },
    "es": {
        "order": (
            "¿dónde está mi pedido {}? Tenía que llegar el martes.",
            "quiero devolver el pedido n.º {}, es pequeño.",
        ),
        "id": ("la aplicación da un error con la referencia {}.", "en el registro pone {} y no pasa nada más."),
        "price": ("me han cobrado {} y la oferta era de {}.", "¿son {} con IVA?"),
        "when": ("el técnico tenía que venir el {} a las {}.", "mi cita es el {}, ¿puede ser el {}?"),
        "bank": ("he enviado el dinero a {}, como pone en la factura.", "¿sigue siendo {} su cuenta?"),
        "parcel": ("el paquete {} no se mueve desde hace una semana.", "el número de seguimiento {} no existe."),
        "code": ("mandé BAJA al {} y siguen llegando mensajes.", "el código {} no funciona."),
        "version": ("desde la actualización a {} la pantalla está negra.", "tengo la versión {} en un aparato viejo."),
        "link": ("la página {} muestra la cesta vacía.", "lo encontré aquí: {}"),
        "book": ("¿tienen el libro con ISBN {}?", "la etiqueta dice EAN {}, ¿es el modelo nuevo?"),
        "car": ("mi coche {} está en su garaje.", "la matrícula del contrato debe ser {}."),
        "part": ("necesito un repuesto para {}, talla {}.", "¿cabe {} en el marco de {}?"),
        "plain": ("nadie me ha contestado desde la semana pasada.", "¿cómo cambio la dirección de entrega?"),
    },
    "it": {
        "order": (
            "dov'è il mio ordine {}? Doveva arrivare martedì.",
            "vorrei rendere l'ordine n. {}, è troppo piccolo.",
        ),
        "id": ("l'app mostra un errore con il riferimento {}.", "nel registro c'è {} e poi non succede nulla."),
        "price": ("mi avete addebitato {} ma l'offerta era {}.", "sono {} con IVA?"),
        "when": ("il tecnico doveva venire il {} alle {}.", "il mio appuntamento è il {}, si può spostare al {}?"),
        "bank": ("ho mandato i soldi a {}, come sulla fattura.", "il conto {} è ancora valido?"),
        "parcel": ("il pacco {} è fermo da una settimana.", "il codice di spedizione {} non esiste."),
        "code": ("ho scritto STOP al {} e arrivano ancora messaggi.", "il codice {} non funziona."),
        "version": ("dopo l'aggiornamento a {} lo schermo è nero.", "ho la versione {} su un modello vecchio."),
        "link": ("la pagina {} mostra il carrello vuoto.", "l'ho trovato qui: {}"),
        "book": ("avete il libro con ISBN {}?", "sull'etichetta c'è EAN {}, è il modello nuovo?"),
        "car": ("la mia auto {} è nel vostro garage.", "la targa sul contratto deve essere {}."),
        "part": ("mi serve un ricambio per {}, misura {}.", "{} entra nel telaio di {}?"),
        "plain": ("nessuno mi ha risposto dalla settimana scorsa.", "come cambio l'indirizzo di consegna?"),
    },
    "pt": {
        "order": (
            "onde está a minha encomenda {}? Devia chegar na terça.",
            "quero devolver a encomenda n.º {}, é pequena.",
        ),
        "id": ("a aplicação mostra um erro com a referência {}.", "o registo diz {} e depois nada acontece."),
        "price": ("cobraram-me {} mas a oferta era de {}.", "são {} com IVA?"),
        "when": ("o técnico devia vir no dia {} às {}.", "a minha marcação é {}, pode passar para {}?"),
        "bank": ("enviei o dinheiro para {}, como diz a fatura.", "a conta {} ainda está certa?"),
        "parcel": ("o pacote {} está parado há uma semana.", "o número de rastreio {} não existe."),
        "code": ("mandei SAIR para {} e ainda recebo mensagens.", "o código {} não funciona."),
        "version": ("desde a atualização para {} o ecrã está preto.", "tenho a versão {} num aparelho antigo."),
        "link": ("a página {} mostra o carrinho vazio.", "encontrei aqui: {}"),
        "book": ("têm o livro com ISBN {}?", "a etiqueta diz EAN {}, é o modelo novo?"),
        "car": ("o meu carro {} está na vossa garagem.", "a matrícula no contrato deve ser {}."),
        "part": ("preciso de uma peça para {}, tamanho {}.", "{} cabe na moldura de {}?"),
        "plain": ("ninguém me respondeu desde a semana passada.", "como mudo a morada de entrega?"),
    },
    "nl": {
        "order": (
            "waar blijft mijn bestelling {}? Die zou dinsdag komen.",
            "ik wil bestelnummer {} terugsturen, te klein.",
        ),
        "id": ("de app geeft een fout met kenmerk {}.", "in het logboek staat {} en dan gebeurt er niets."),
        "price": ("er is {} afgeschreven terwijl de aanbieding {} was.", "is {} de prijs met btw?"),
        "when": ("de monteur zou op {} om {} komen.", "mijn afspraak is {}, kan het ook {}?"),
        "bank": ("ik heb het geld naar {} overgemaakt.", "klopt het rekeningnummer {} nog?"),
        "parcel": ("het pakket {} staat al een week stil.", "het zendingsnummer {} is onbekend."),
        "code": ("ik heb STOP naar {} gestuurd en krijg nog berichten.", "de code {} werkt niet."),
        "version": ("sinds de update naar {} blijft het scherm zwart.", "ik heb versie {} op een oud toestel."),
        "link": ("de pagina {} toont een lege winkelwagen.", "ik vond het hier: {}"),
        "book": ("heeft u het boek met ISBN {}?", "op het etiket staat EAN {}, is dat het nieuwe model?"),
        "car": ("mijn auto {} staat in uw garage.", "het kenteken in het contract moet {} zijn."),
        "part": ("ik zoek een onderdeel voor {}, maat {}.", "past {} in het frame van {}?"),
        "plain": ("sinds vorige week heeft niemand iets laten horen.", "hoe wijzig ik mijn bezorgadres?"),
    },
    "pl": {
        "order": (
            "gdzie jest moje zamówienie {}? Miało być we wtorek.",
            "chcę zwrócić zamówienie nr {}, jest za małe.",
        ),
        "id": ("aplikacja pokazuje błąd z numerem {}.", "w dzienniku jest {} i potem nic się nie dzieje."),
        "price": ("pobrano mi {}, a w ofercie było {}.", "czy {} to cena z VAT?"),
        "when": ("technik miał przyjść {} o {}.", "mam wizytę {}, czy można przenieść na {}?"),
        "bank": ("wysłałem pieniądze na {}, jak na fakturze.", "czy konto {} jest aktualne?"),
        "parcel": ("paczka {} stoi od tygodnia.", "numer przesyłki {} jest nieznany."),
        "code": ("wysłałem STOP na {} i dalej dostaję wiadomości.", "kod {} nie działa."),
        "version": ("po aktualizacji do {} ekran jest czarny.", "mam wersję {} na starym urządzeniu."),
        "link": ("strona {} pokazuje pusty koszyk.", "znalazłem to tutaj: {}"),
        "book": ("czy macie książkę ISBN {}?", "na etykiecie jest EAN {}, czy to nowy model?"),
        "car": ("mój samochód {} stoi w waszym garażu.", "rejestracja w umowie powinna być {}."),
        "part": ("potrzebuję części do {}, rozmiar {}.", "czy {} pasuje do ramy {}?"),
        "plain": ("od zeszłego tygodnia nikt się nie odezwał.", "jak zmienić adres dostawy?"),
    },
}

#: Sentences for what is personal, by kind.
PERSONAL: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "email": ("please write to {}.", "my address is {} and nothing arrives", "({}) is the account I mean"),
        "phone": ("call me on {} after five.", "my number is {}.", "you reach me under {}, thanks"),
        "card": ("charge my card {} please.", "the number is {}, valid until 12/27", "it says {} on the front"),
        "api_key": ("our script uses {} and gets an error.", "key={}", "I pasted {}, is that wrong?"),
    },
    "de": {
        "email": (
            "bitte schreiben Sie an {}.",
            "meine Adresse ist {}, aber nichts kommt an",
            "das Konto ({}) meine ich",
        ),
        "phone": ("rufen Sie mich unter {} an.", "meine Nummer ist {}.", "Telefon: {}, bitte nach fünf"),
        "card": ("buchen Sie von meiner Karte {} ab.", "die Nummer ist {}, gültig bis 12/27", "vorne steht {}"),
        "api_key": (
            "unser Skript nimmt {} und bekommt einen Fehler.",
            "Schlüssel={}",
            "ich habe {} eingefügt, falsch?",
        ),
    },
    "fr": {
        "email": ("écrivez-moi à {}.", "mon adresse est {} et rien n'arrive", "le compte ({}) est le bon"),
        "phone": ("appelez-moi au {} après 17 h.", "mon numéro est le {}.", "tél. {} si besoin"),
        "card": ("débitez ma carte {} svp.", "le numéro est {}, valable jusqu'au 12/27", "il est écrit {} dessus"),
        "api_key": ("notre script utilise {} et reçoit une erreur.", "clé={}", "j'ai collé {}, c'est faux ?"),
    },
    "es": {
        "email": ("escríbanme a {}.", "mi correo es {} y no llega nada", "la cuenta ({}) es esa"),
        "phone": ("llámenme al {} por la tarde.", "mi número es el {}.", "móvil {} por favor"),
        "card": ("carguen mi tarjeta {} por favor.", "el número es {}, válida hasta 12/27", "delante pone {}"),
        "api_key": ("nuestro programa usa {} y da error.", "clave={}", "he pegado {}, ¿está mal?"),
    },
    "it": {
        "email": ("scrivetemi a {}.", "il mio indirizzo è {} e non arriva nulla", "l'account ({}) è quello"),
        "phone": ("chiamatemi al {} dopo le cinque.", "il mio numero è {}.", "cellulare {} grazie"),
        "card": ("addebitate sulla carta {} per favore.", "il numero è {}, valida fino al 12/27", "davanti c'è {}"),
        "api_key": ("il nostro script usa {} e dà errore.", "chiave={}", "ho incollato {}, è sbagliato?"),
    },
    "pt": {
        "email": ("escrevam para {}.", "o meu endereço é {} e nada chega", "a conta ({}) é essa"),
        "phone": ("liguem-me para o {} depois das cinco.", "o meu número é {}.", "telefone {} por favor"),
        "card": ("cobrem no meu cartão {} por favor.", "o número é {}, válido até 12/27", "à frente diz {}"),
        "api_key": ("o nosso script usa {} e dá erro.", "chave={}", "colei {}, está errado?"),
    },
    "nl": {
        "email": ("mail me op {}.", "mijn adres is {} en er komt niets", "het account ({}) bedoel ik"),
        "phone": ("bel mij op {} na vijven.", "mijn nummer is {}.", "telefoon {} graag"),
        "card": ("schrijf het af van mijn kaart {} graag.", "het nummer is {}, geldig tot 12/27", "voorop staat {}"),
        "api_key": ("ons script gebruikt {} en krijgt een fout.", "sleutel={}", "ik heb {} geplakt, fout?"),
    },
    "pl": {
        "email": ("proszę pisać na {}.", "mój adres to {} i nic nie przychodzi", "chodzi o konto ({})"),
        "phone": ("proszę zadzwonić pod {} po piątej.", "mój numer to {}.", "telefon {} proszę"),
        "card": ("proszę obciążyć kartę {}.", "numer to {}, ważna do 12/27", "z przodu jest {}"),
        "api_key": ("nasz skrypt używa {} i dostaje błąd.", "klucz={}", "wkleiłem {}, źle?"),
    },
}
